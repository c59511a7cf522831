"""Fuse and score finished logs again, of the network's own depth or of perfect depth.

    python tools/score_fusion.py out/demo --root data/nuscenes
    python tools/score_fusion.py out/demo --root data/nuscenes --depth true

With `--depth true` depth, motion and poses are the generated world's own: figures of the fusion
alone. Prints map, objects and motion of every log and of all together.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from driv3r import open_log
from driv3r.config import build_config
from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import WorkRig, prepare_rig
from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.merge import POOLED, merge_scores
from driv3r.evaluation.rescore import find_stores
from driv3r.evaluation.stored_frames import replay
from driv3r.geometry.transforms import invert
from driv3r.pipelines.worker import ReadFrame, fuse_log
from driv3r.simulator.export.marker import MARKER
from driv3r.simulator.export.nuscenes_writer import LogPlan, WorldConfig, plan_logs, world_of
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.store.reader import LogStore
from driv3r.store.schema import FrameRecord
from driv3r.types import Scene, Score

TRUE_SIGMA = 0.002  # of depth at pixels' centres beside LiDAR points: what is measured
FARTHEST_M = 200.0


def plan_of(root: Path, store: LogStore) -> LogPlan:
    """How the generated log was made; ValueError where the root is no generated world."""
    marker = root / MARKER
    if not marker.is_file():
        raise ValueError(f"{root} is no generated world ({MARKER} is not there): no true depth")
    recipe = build_config(json.loads(marker.read_text())["recipe"], WorldConfig, str(marker))
    return next(plan for plan in plan_logs(recipe) if plan.name == store.log_id)


def read_truth(store: LogStore, scene: Scene, work: WorkRig, plan: LogPlan) -> ReadFrame:
    """The log's records with the true depth, motion and poses of its world."""
    renderer = Renderer(world_of(plan))
    made: dict[int, FrameRecord] = {}

    def read(index: int) -> FrameRecord:
        if index not in made:
            made[index] = _make_true(store.record(index), scene, work, plan, renderer, index)
        return made[index]

    return read


def _make_true(
    record: FrameRecord,
    scene: Scene,
    work: WorkRig,
    plan: LogPlan,
    renderer: Renderer,
    index: int,
) -> FrameRecord:
    frame, prediction = scene.frames[index], record.prediction
    depth_m, motion = np.full_like(prediction.depth_m, np.nan), np.zeros_like(prediction.motion)
    world_T_ego_cam = record.world_T_ego_cam.copy()
    for view, (camera, shot) in enumerate(zip(work.rig.cameras, frame.views, strict=True)):
        if shot is None:
            continue
        truth = renderer.render_view(camera, (shot.time_us - plan.start_us) * 1e-6, view)
        seen = (truth.depth_m > 0) & (truth.depth_m < FARTHEST_M)
        depth_m[view][seen], motion[view] = truth.depth_m[seen], truth.moving
        world_T_ego_cam[view] = shot.world_T_cam @ invert(camera.ego_T_cam)
    sigma = np.where(np.isfinite(depth_m), np.float32(TRUE_SIGMA), np.float32(np.nan))
    true = replace(prediction, depth_m=depth_m, sigma=sigma, motion=motion)
    poses = {"world_T_ego": frame.world_T_ego, "world_T_ego_cam": world_T_ego_cam}
    return replace(record, prediction=true, **poses)


def score(store: LogStore, scene: Scene, root: Path, depth: str) -> tuple[Score, ...]:
    """The figures of one log's fusion."""
    work = prepare_rig(scene.rig, store.rig.cameras[0].size_hw)
    read: ReadFrame = store.record
    if depth == "true":
        read = read_truth(store, scene, work, plan_of(root, store))
    scorer = LogScorer("nuscenes", work.rig, store.header.model, store.ego_poses, scene.generated)
    for stored in replay(scene, work, read):
        scorer.add(stored)
    parts = scorer.finish(fuse_log(scene, work, read, lambda _: None))
    return tuple(s for part in parts if part.protocol in POOLED for s in part.scores)


def main() -> None:
    """Score every log of a run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder, such as out/demo, or one log of it")
    parser.add_argument("--dataset", default="nuscenes")
    parser.add_argument("--root", type=Path, required=True, help="what the logs were made from")
    parser.add_argument("--depth", choices=("own", "true"), default="own")
    given = parser.parse_args()
    stores = [open_log(path) for path in find_stores(given.run)]
    reader = open_dataset(given.dataset, given.root)
    logs = {
        s.log_id: score(s, reader.read(s.log_id), given.root.resolve(), given.depth) for s in stores
    }
    for name, scores in {**logs, "all": tuple(merge_scores(list(logs.values())))}.items():
        print(name)
        for s in scores:
            print(f"  {s.protocol:8} {s.subject:9} {s.metric:28} {s.value:8.3f} {s.unit:4} n {s.n}")


if __name__ == "__main__":
    main()
