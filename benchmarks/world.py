"""Surround frames a second of the generated world: images, all truth and LiDAR.

    python benchmarks/world.py --workers 2 --frames 12

Each worker draws frames of its own worlds (six cameras, 392x224, and one LiDAR sweep each), after
one that warms up caches and compiled kernels. The peer is Embree alone: what casting one ray a
pixel and one towards the sun costs in the same run.
"""

import argparse
import multiprocessing
import time

import numpy as np

from driv3r.geometry.cameras import pixel_grid
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.ray_casting import cast, is_clear
from driv3r.simulator.rendering.renderer import Renderer, make_rays
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import KINDS, make_world

SIZE_HW = (224, 392)


def draw(job: tuple[int, int]) -> tuple[int, float, float]:
    """Frames drawn, seconds for them, seconds for the rays alone."""
    seed, frames = job
    rig, ours_s, rays_s = make_rig(SIZE_HW), 0.0, 0.0
    for k, kind in enumerate(KINDS):
        renderer = Renderer(make_world(seed + k, 2.0 + 0.5 * frames, kind))
        render_frame(renderer, rig, 0.3)
        renderer.scan(0.3)
        for i in range(frames // len(KINDS)):
            at_s = 0.8 + 0.5 * i
            start = time.perf_counter()
            render_frame(renderer, rig, at_s)
            renderer.scan(at_s)
            ours_s += time.perf_counter() - start
            rays_s += time_rays(renderer, rig, at_s)
    return len(KINDS) * (frames // len(KINDS)), ours_s, rays_s


def time_rays(renderer: Renderer, rig, at_s: float) -> float:
    """Seconds of first hits and sun rays of six cameras in the still scene."""
    spent = 0.0
    for camera in rig.cameras:
        world_T_cam = renderer.world.ego.world_T_ego(at_s) @ camera.ego_T_cam
        origins, directions, _ = make_rays(camera, world_T_cam, pixel_grid(SIZE_HW).reshape(-1, 2))
        sun = np.broadcast_to(renderer.world.light.sun_direction, directions.shape)
        start = time.perf_counter()
        hits = cast(renderer.still, None, origins, directions)
        points = origins + directions * np.where(hits.kind > 0, hits.range_m - 0.02, 0)[:, None]
        is_clear(renderer.still, None, points, sun)
        spent += time.perf_counter() - start
    return spent


def main() -> None:
    """Print frames a second of all workers together, and the ratio to the rays alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--frames", type=int, default=12, help="per worker, at least one a kind")
    options = parser.parse_args()
    jobs = [(500 + 10 * w, max(options.frames, len(KINDS))) for w in range(options.workers)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        rows = pool.map(draw, jobs, chunksize=1)
    fps = sum(frames / ours for frames, ours, _ in rows)
    ratio = sum(ours for _, ours, _ in rows) / sum(rays for _, _, rays in rows)
    print(f"{options.workers} workers: {fps:.2f} surround frames/s; {ratio:.1f}x the rays alone")


if __name__ == "__main__":
    main()
