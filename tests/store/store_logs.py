"""A small made-up log for the tests of the store, also run as a process that gets killed."""

import copy
import dataclasses
import os
import signal
import sys
from pathlib import Path

import numpy as np

from driv3r.geometry.transforms import from_rotvec
from driv3r.settings import Provenance
from driv3r.store import units
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import FrameRecord, LogHeader
from driv3r.store.writer import LogWriter
from driv3r.types import (
    Camera,
    MovingObjects,
    Prediction,
    Repair,
    Rig,
    Score,
    StaticMap,
)

T, V, H, W = 4, 2, 6, 8
BROWN = {"distortion": (0.01, 0.02, 0.0, 0.001)}
FISHEYE = {"lens": "kannala_brandt", "distortion": (0.1, 0.0, 0.0, 0.0), "pinhole_fov_deg": 80.0}
ABSENT = (2, 1)  # frame and view without input


def make_header(**changes) -> LogHeader:
    K = np.array([[5.0, 0.0, 4.0], [0.0, 5.0, 3.0], [0.0, 0.0, 1.0]])
    ego_T_cam = [from_rotvec(np.array([0.1, k, 0.2]), np.array([1.0, k, 1.5])) for k in range(V)]
    cameras = tuple(Camera(f"CAM_{k}", K + k / 8, (H, W), ego_T_cam[k]) for k in (0, 1))
    fields = {
        "log_id": "log-1",
        "dataset": "made-up",
        "model": "made-up",
        "rig": Rig(cameras, from_rotvec(np.zeros(3), np.array([0.0, 0.0, 1.8]))),
        "full_cameras": tuple(
            dataclasses.replace(
                c, K=c.K * [[2], [2], [1]] + [[0, 0, 3], [0, 0, 1], [0, 0, 0]], **lens
            )
            for c, lens in zip(cameras, (BROWN, FISHEYE), strict=True)
        ),
        "crops": ((1, 3, 12, 16),) * V,
        "time_us": 1_600_000_000_000_000 + 500_000 * np.arange(T),
        "is_keyframe": np.arange(T) % 2 == 0,
        "input_hash": "a",
        "provenance": make_provenance(),
        "scale": "metric",
        "scale_source": "calibrated rig",
        "ego_poses": "predicted",
    }
    return LogHeader(**fields | changes)


def make_provenance(**changes) -> Provenance:
    fields = {
        "settings": {"threads": 1, "model": "made-up"},
        "weights": "c",
        "sources": "d",
        "versions": {"numpy": "1.0"},
        "device": "cpu",
        "precision": "fp32",
        "machine": "a made-up processor",
    }
    return Provenance(**fields | changes)


def make_record(frame: int, seconds: float = 0.5, attempts: int = 1) -> FrameRecord:
    rng = np.random.default_rng(frame)
    depth_m = rng.uniform(1.0, 80.0, (V, H, W)).astype(np.float32)
    depth_m[0, 0, :4] = np.nan, 0.0, -3.0, 2000.0
    time_cam_us = 1_600_000_000_000_000 + 500_000 * frame + 10_000 * np.arange(V)
    pose = from_rotvec(rng.normal(size=(V + 2, 3)), rng.normal(size=(V + 2, 3)) * 100)
    world_T_ego_cam = pose[:V].copy()
    absent = frame == ABSENT[0]
    if absent:
        view = ABSENT[1]
        depth_m[view], time_cam_us[view], world_T_ego_cam[view] = np.nan, -1, np.nan
    sigma = rng.uniform(0.01, 1.0, (V, H, W)).astype(np.float32)
    motion = rng.uniform(0.0, 1.0, (V, H, W)).astype(np.float32)
    paths = [f"samples/CAM_{view}/{frame}.jpg" for view in range(V)]
    if absent:
        sigma[view], motion[view], paths[view] = np.nan, np.nan, None
    return FrameRecord(
        prediction=Prediction(
            cameras=make_header().rig.cameras,
            depth_m=depth_m,
            sigma=sigma,
            motion=motion,
            prev_T_curr=pose[V] if frame else None,
        ),
        status="partial" if absent else "ok",
        reasons=("CAM_1: no image",) if absent else (),
        time_cam_us=time_cam_us,
        world_T_ego=pose[V + 1],
        world_T_ego_cam=world_T_ego_cam,
        image_paths=tuple(paths),
        seconds=seconds,
        input_hash=f"in{frame}",
        attempts=attempts,
    )


def make_reconstruction(n: int = 500, m: int = 3, p: int = 9) -> Reconstruction:
    rng = np.random.default_rng(0)
    cells = rng.choice(300**3, n, replace=False)
    index = np.stack([cells % 300, cells // 300 % 300, cells // 90000], axis=1) - 150
    static = StaticMap(
        0.2,
        index,
        rng.integers(0, 256, (n, 3), np.uint8),
        rng.integers(1, 2**40, n),
        rng.integers(0, 2**20, n),
        rng.integers(1, 2**40, n),
        rng.integers(0, 256, (n, 3), np.uint8),
        rng.integers(-127, 128, (n, 3), np.int8),
        *rng.integers(0, T, (2, n)),
    )
    moving = MovingObjects(
        np.arange(m),
        np.arange(m),
        500 * np.arange(m),
        from_rotvec(rng.normal(size=(m, 3)), rng.normal(size=(m, 3))),
        rng.normal(size=(m, 3)),
        rng.uniform(0.1, 2.0, m),
        rng.random(m) < 0.5,
        rng.uniform(0.5, 5.0, (m, 3)),
        rng.random(m),
        rng.normal(size=(p, 3)).astype(np.float32),
        rng.integers(0, 256, (p, 3), np.uint8),
        rng.integers(0, max(m, 1), p),
    )
    return Reconstruction(static, moving)


SCORES = (
    Score("abs_rel", 0.125, "", 900, "nuscenes", "network"),
    Score("rmse", float("nan"), "m", 0, "nuscenes", "network", "median", "CAM_1"),
)


def finish(writer: LogWriter) -> None:
    """All that follows the frames."""
    writer.write_repairs([Repair("CAM_1/3.jpg", "truncated"), Repair("CAM_1/4.jpg", "truncated")])
    writer.write_reconstruction(make_reconstruction())
    writer.write_scores(
        "nuscenes",
        {"max_m": 80.0, "name": "x"},
        SCORES,
        {"abs_rel": np.linspace(0, 1, T * V).reshape(T, V), "n": np.ones((T, V), np.int64)},
        {"parallax": 7},
    )
    writer.write_pictures({"frame 0": b"\xff\xd8 a JPEG", "frame 2": b"another"})
    writer.write_seconds({"predict": 1.5, "fuse": 0.5})
    writer.seal()


def array_bytes(folder: Path) -> dict[str, bytes]:
    """Every file but lineage/, which alone may differ between runs."""
    files = (p for p in folder.rglob("*") if p.is_file())
    names = {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}
    return {name: data for name, data in names.items() if not name.startswith("lineage/")}


def write_log(staging: Path, frames=range(T), **changes) -> LogWriter:
    writer = LogWriter(staging, make_header(**changes))
    for frame in frames:
        writer.write_frame(frame, make_record(frame))
    finish(writer)
    return writer


def change(thing, **fields):
    """A copy with fields that the type checks of tests, which a user's run has not, would stop."""
    changed = copy.copy(thing)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)
    return changed


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


if __name__ == "__main__":  # write frames, and die by SIGKILL where asked to in frame 2
    staging, moment = Path(sys.argv[1]), sys.argv[2]
    writer = LogWriter(staging, make_header())
    for frame in (0, 1):
        writer.write_frame(frame, make_record(frame, seconds=9.0))
    kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    if moment == "before the entry":
        units.write_group = kill
    else:  # between two of the frame's shards, with a temporary file left behind
        (staging / "views/depth/c.2.0.0.1234.partial").write_bytes(b"torn")
        write_array, calls = units.write_array, []
        units.write_array = lambda *a, **k: kill() if calls else calls.append(write_array(*a, **k))
    writer.write_frame(2, make_record(2))
