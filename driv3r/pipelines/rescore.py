"""Score finished logs again from what their stores hold."""

from collections.abc import Callable
from pathlib import Path

from driv3r.datasets import open_dataset
from driv3r.datasets.working_size import prepare_rig
from driv3r.errors import StoreError
from driv3r.pipelines.replay import replay
from driv3r.pipelines.results import LogResult, RunResult
from driv3r.pipelines.score import LogScorer
from driv3r.scoring.merge import merge_scores
from driv3r.store.reader import LogStore
from driv3r.types import Scene


def find_stores(path: Path) -> list[Path]:
    """A log's folder itself, or all logs in a run's folder."""
    if path.suffix == ".zarr":
        return [path]
    stores = sorted(path.glob("*.zarr"))
    if not stores:
        raise StoreError(f"no *.zarr in {path}; give a finished log or the folder of a run")
    return stores


def rescore(
    path: Path,
    dataset: str,
    root: Path,
    protocol: str,
    report: Callable[[str, str, int, int], None],
) -> RunResult:
    """Figures of every finished log below `path` under a protocol; nothing is written."""
    readers = {}
    logs = []
    for place in find_stores(path):
        store = LogStore.open(place)
        sweeps = not bool(store.header.is_keyframe.all())
        if sweeps not in readers:
            readers[sweeps] = open_dataset(dataset, root, sweeps=sweeps)
        scene = readers[sweeps].read(store.log_id)
        logs.append(_score_store(store, scene, protocol, report))
    settings = {"dataset": dataset, "root": str(root), "protocol": protocol, "stores": str(path)}
    return RunResult(
        f"{path}", settings, tuple(logs), tuple(merge_scores([g.scores for g in logs]))
    )


def _score_store(
    store: LogStore, scene: Scene, protocol: str, report: Callable[[str, str, int, int], None]
) -> LogResult:
    if scene.time_us.tolist() != store.time_us.tolist():
        raise StoreError(
            f"{store.path} has {len(store.time_us)} frames at other times than scene {scene.id} "
            f"({len(scene.frames)}); give the --root it was made from"
        )
    work = prepare_rig(scene, store.rig.cameras[0].size_hw)
    scorer = LogScorer(protocol, work.rig, store.header.model, store.ego_poses)
    for moment in replay(scene, work, store.record):
        scorer.add(moment)
        report(store.log_id, "score", moment.index + 1, len(scene.frames))
    return LogResult(
        store.log_id,
        "done",
        frames=len(scene.frames),
        store=str(store.path),
        **scorer.finish().as_result(),
    )
