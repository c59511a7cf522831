"""Our 4D fusion against Open3D's TSDF of the same depth, in surround frames a second.

    python benchmarks/fusion.py [LOG.zarr] [--frames 40] [--threads 2] [--repeats 3]

Takes six views of 224 x 400, a finished log's depth or (without a log) a generated street's, two
frames a second, and fuses them at 0.2 m both ways, in turns in one run; the best turn of each
counts. Ours is the whole of `driv3r.fusion.fuse`: every view against the others around it in time,
free space, moving objects, voxels with colours and normals. Open3D's is VoxelBlockGrid's TSDF and
weight only. Reading is in neither. Open3D is no dependency of ours: put
`pip install open3d==0.20.0 plotly dash` (and apt's libusb-1.0-0) into an environment of its own.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.fusion import FrameWindow, FusedFrame, FusionConfig, fuse
from driv3r.geometry.cameras import crop_resize
from driv3r.geometry.transforms import invert
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world
from driv3r.store.reader import LogStore

SIZE_HW = (224, 400)
SEED, SIGMA = 500, 0.02
VOXEL_M, DEPTH_MAX_M = FusionConfig.voxel_m, FusionConfig.max_depth_m


def read_log(path: Path, most: int) -> list[FusedFrame]:
    """The first frames of a finished log."""
    store = LogStore.open(path)
    return [read_frame(store, index) for index in range(min(most, len(store.time_us)))]


def read_frame(store: LogStore, index: int) -> FusedFrame:
    """A frame of the log at SIZE_HW: nearest pixels of a centred crop, without colours."""
    record = store.record(index)
    prediction, cameras = record.prediction, store.rig.cameras
    resized = [crop_resize(camera, SIZE_HW) for camera in cameras]
    maps = {}
    for name in ("depth_m", "sigma", "motion"):
        views = []
        for view, (_, (y0, x0, h, w)) in zip(getattr(prediction, name), resized, strict=True):
            rows = y0 + ((np.arange(SIZE_HW[0]) + 0.5) * h / SIZE_HW[0]).astype(int)
            columns = x0 + ((np.arange(SIZE_HW[1]) + 0.5) * w / SIZE_HW[1]).astype(int)
            views.append(view[np.ix_(rows, columns)])
        maps[name] = np.stack(views)
    ego_T_cam = np.stack([camera.ego_T_cam for camera in cameras])
    return FusedFrame(
        index=index,
        time_us=int(store.time_us[index]),
        cameras=tuple(camera for camera, _ in resized),
        time_cam_us=record.time_cam_us,
        world_T_ego=record.world_T_ego,
        world_T_cam=record.world_T_ego_cam @ ego_T_cam,
        rgb=np.zeros((*maps["depth_m"].shape, 3), np.uint8),
        **maps,
    )


def make_frames(count: int) -> list[FusedFrame]:
    """Frames of a generated street with its own depth and motion, without colours."""
    rig, times_s = make_rig(SIZE_HW), [1.0 + 0.5 * i for i in range(count)]
    renderer = Renderer(make_world(SEED, times_s[-1] + 1.0))
    frames = []
    for index, time_s in enumerate(times_s):
        world_T_ego = renderer.world.ego.world_T_ego(time_s)
        truths = [renderer.render_view(camera, time_s, v) for v, camera in enumerate(rig.cameras)]
        depth_m = np.stack([np.where(t.depth_m > 0, t.depth_m, np.nan) for t in truths])
        time_us, shape = round(time_s * 1e6), depth_m.shape
        frames.append(
            FusedFrame(
                index=index,
                time_us=time_us,
                cameras=rig.cameras,
                time_cam_us=np.full(len(truths), time_us),
                world_T_ego=world_T_ego,
                world_T_cam=world_T_ego @ np.stack([camera.ego_T_cam for camera in rig.cameras]),
                depth_m=depth_m.astype(np.float32),
                sigma=np.full(shape, SIGMA, np.float32),
                motion=np.stack([t.moving for t in truths]).astype(np.float32),
                rgb=np.zeros((*shape, 3), np.uint8),
            )
        )
    return frames


def time_ours(frames: list[FusedFrame], threads: int) -> float:
    """Seconds to fuse the frames."""
    fresh = [replace(frame) for frame in frames]  # nothing of an earlier turn is kept in them
    window = FrameWindow(np.array([f.time_us for f in fresh]), fresh.__getitem__)
    since = time.perf_counter()
    fuse(window, FusionConfig(), threads=threads)
    return time.perf_counter() - since


def time_open3d(frames: list[FusedFrame], o3d: Any) -> float:
    """Seconds to integrate the frames' depth into a VoxelBlockGrid, on all cores at hand."""
    tensor, image, double = o3d.core.Tensor, o3d.t.geometry.Image, o3d.core.float64
    views = []
    for frame in frames:
        for view in frame.placed.view:
            depth_m = np.nan_to_num(frame.depth_m[view]).astype(np.float32)
            K = tensor(frame.cameras[view].K, double)
            cam_T_world = tensor(invert(frame.world_T_cam[view]), double)
            views.append((image(tensor(depth_m)), K, cam_T_world))
    dtypes, shapes = (o3d.core.float32, o3d.core.float32), ((1), (1))
    grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight"), dtypes, shapes, VOXEL_M, 16, 20_000)
    since = time.perf_counter()
    for depth, K, cam_T_world in views:
        blocks = grid.compute_unique_block_coordinates(depth, K, cam_T_world, 1.0, DEPTH_MAX_M)
        grid.integrate(blocks, depth, K, cam_T_world, 1.0, DEPTH_MAX_M)
    return time.perf_counter() - since


def find_peers(threads: int) -> dict[str, Callable[[list[FusedFrame]], float]]:
    """What can be timed; a peer that is not installed is named."""
    peers: dict[str, Callable[[list[FusedFrame]], float]] = {
        "driv3r": lambda frames: time_ours(frames, threads)
    }
    try:
        import open3d  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        print(f"Open3D is left out ({error}): see the head of this file")
    else:
        peers["Open3D, TSDF only"] = lambda frames: time_open3d(frames, open3d)
    return peers


def main() -> None:
    """Compare on the same frames."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("log", type=Path, nargs="?", help="a finished log; else a generated street")
    parser.add_argument("--frames", type=int, default=40, help="at most so many, from the first on")
    parser.add_argument("--threads", type=int, default=2, help="and cores that any of them may use")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])  # of all peers alike
    peers = find_peers(given.threads)
    frames = make_frames(given.frames) if given.log is None else read_log(given.log, given.frames)
    for take in peers.values():
        take(frames[:2])  # compiles, and fills caches
    turns = [{name: take(frames) for name, take in peers.items()} for _ in range(given.repeats)]
    rates = {name: len(frames) / min(turn[name] for turn in turns) for name in peers}
    size = " x ".join(map(str, frames[0].depth_m.shape))
    print(f"{len(frames)} frames of {size} at {VOXEL_M:g} m, {given.threads} threads")
    for name, rate in rates.items():
        print(f"{name}: {rate:.2f} surround frames/s, {rate / rates['driv3r']:.2f} of ours")


if __name__ == "__main__":
    main()
