"""What assuming a camera costs: one camera of a log, processed as if nothing were known of it.

python tests/tools/measure_assumed.py pandaset ../shared/data/pandaset 002 front_camera \
    --every 2 --frames 20 --camera-height-m 1.5

The log's LiDAR is seen through its true calibration, and its true path is compared with.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import yaml

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import prepare_rig
from driv3r.evaluation.metrics.depth import SCALINGS, DepthScorer
from driv3r.evaluation.metrics.ego import score_ego
from driv3r.evaluation.metrics.lidar_projection import project_sweep
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.pipelines.process import make_settings, process
from driv3r.store.reader import LogStore
from driv3r.types import Frame, Rig, Scene


def write_camera(
    scene: Scene, root: Path, view: int, frames: list[Frame], out: Path, known: dict[str, float]
) -> Path:
    """The images of one camera, with a rig file that says that its calibration is unknown."""
    log, camera = out / scene.id, scene.rig.cameras[view]
    (log / "images" / camera.name).mkdir(parents=True)
    for frame in frames:
        shot = frame.views[view]
        assert shot is not None, f"{camera.name} has no image at {frame.time_us} us"
        file = f"{shot.time_us}{Path(shot.path).suffix}"
        shutil.copyfile(root / shot.path, log / "images" / camera.name / file)
    size_wh = [camera.size_hw[1], camera.size_hw[0]]
    entry = {"name": camera.name, "size_wh": size_wh, "intrinsics": "unknown"}
    content = {"cameras": [entry | {"ego_T_cam": "unknown"} | known]}
    (log / "rig.yaml").write_text(yaml.safe_dump(content))
    return log


def measure(
    scene: Scene, view: int, frames: list[Frame], store: LogStore, rules: str
) -> dict[str, float]:
    """Depth against LiDAR through the true camera, and the path against the true one."""
    protocol = choose_protocol(rules)
    size_hw = store.rig.cameras[0].size_hw
    true = prepare_rig(Rig((scene.rig.cameras[view],)), size_hw).rig.cameras[0]
    scorer = DepthScorer(protocol, [true.name], "assumed")
    for index, frame in enumerate(frames):
        shot = frame.views[view]
        if shot is not None and frame.sweep is not None:
            truth = project_sweep(frame.sweep, true, shot.world_T_cam, protocol)
            scorer.add(index, 0, truth, store.depth_m(index, 0))
    path = np.stack([frame.world_T_ego for frame in frames])
    verdict = score_ego(path, store.world_T_ego(), store.time_us, "assumed")
    kept = {("abs_rel", scaling) for scaling in SCALINGS}
    kept |= {("path_length", "none"), ("ate_rmse", "sim3"), ("scale", "sim3")}
    found = [*(s for s in scorer.scores() if s.camera == "all"), *verdict.scores]
    return {f"{s.scaling} {s.metric}": s.value for s in found if (s.metric, s.scaling) in kept}


def main() -> None:
    """Process and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("dataset", "root", "scene", "camera"):
        parser.add_argument(name)
    for name, default in (("--frames", 20), ("--every", 1)):
        parser.add_argument(name, type=int, default=default)
    for name in ("--fov-deg", "--camera-height-m"):
        parser.add_argument(name, type=float)
    parser.add_argument("--calibration", default="given")
    asked = parser.parse_args()
    scene = open_dataset(asked.dataset, Path(asked.root)).read(asked.scene)
    view = [camera.name for camera in scene.rig.cameras].index(asked.camera)
    camera = scene.rig.cameras[view]
    frames = [scene.frames[i] for i in range(0, len(scene.frames), asked.every)][: asked.frames]
    known = {k: v for k in ("fov_deg", "camera_height_m") if (v := getattr(asked, k)) is not None}
    across_deg = 2 * np.degrees(np.arctan(0.5 * camera.size_hw[1] / camera.K[0, 0]))
    height_m = camera.ego_T_cam[2, 3] - scene.rig.ground_z_m
    print(f"true: {across_deg:.1f} degrees across, {height_m:.2f} m over the road")
    with tempfile.TemporaryDirectory() as place:
        log = write_camera(scene, Path(asked.root), view, frames, Path(place), known)
        settings = make_settings(
            dataset="folder", root=log, split="all", calibration=asked.calibration
        )
        run = process(settings, Path(place) / "out", inline=True)
        assert run.logs[0].state == "done", run.logs[0].error
        store = LogStore.open(Path(place) / "out" / f"{scene.id}.zarr")
        for name, value in measure(scene, view, frames, store, asked.dataset).items():
            print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
