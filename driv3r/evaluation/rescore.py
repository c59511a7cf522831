"""Score finished logs again from what their stores hold."""

from collections.abc import Callable
from pathlib import Path

from driv3r.datasets import Reader, open_dataset
from driv3r.datasets.preprocess import prepare_rig
from driv3r.errors import StoreError
from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.evaluation.records import LogResult, RunResult
from driv3r.evaluation.stored_frames import replay
from driv3r.settings import show_path
from driv3r.store.reader import LogStore
from driv3r.types import Scene

Report = Callable[[str, str, int, int], None]


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
    report: Report,
    follow_links: bool = False,
    split_file: Path | None = None,
    rig: Path | None = None,
) -> RunResult:
    """Figures of every finished log below `path` under a protocol; nothing is written."""
    choose_protocol(protocol)  # before any work
    readers: dict[bool, Reader] = {}
    logs = []
    for place in find_stores(path):
        store = LogStore.open(place)
        sweeps = bool(store.provenance.settings.get("sweeps", False))
        if sweeps not in readers:
            readers[sweeps] = open_dataset(
                dataset,
                root,
                sweeps=sweeps,
                follow_links=follow_links,
                split_file=split_file,
                rig=rig,
            )
        logs.append(_score_store(store, readers[sweeps].read(store.log_id), protocol, report))
    settings = {
        "dataset": dataset,
        "root": show_path(root),
        "protocol": protocol,
        "stores": str(path),
    }
    return RunResult(
        f"{path}", settings, tuple(logs), tuple(merge_scores([g.scores for g in logs]))
    )


def _score_store(store: LogStore, scene: Scene, protocol: str, report: Report) -> LogResult:
    if scene.time_us.tolist() != store.time_us.tolist():
        raise StoreError(
            f"{store.path} has {len(store.time_us)} frames at other times than scene {scene.id} "
            f"({len(scene.frames)}); give the --root it was made from"
        )
    work = prepare_rig(scene.rig, store.rig.cameras[0].size_hw)
    source = store.provenance.settings.get("fuse", "cameras")
    subject = store.header.model
    data = scene.generated, source, store.scale
    scorer = LogScorer(protocol, work.rig, subject, store.ego_poses, *data)
    for stored in replay(scene, work, store.record):
        scorer.add(stored)
        report(store.log_id, "score", stored.index + 1, len(scene.frames))
    parts = scorer.finish(store.reconstruction())
    return LogResult(
        store.log_id,
        "done",
        frames=len(scene.frames),
        store=str(store.path),
        scores=tuple(score for part in parts for score in part.scores),
        cards={part.protocol: part.card for part in parts},
        lost={name: count for part in parts for name, count in part.lost.items()},
        generated=scene.generated,
        scale=store.scale,
    )
