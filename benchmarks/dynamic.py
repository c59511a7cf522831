"""Which LiDAR returns move: ours against DUFOMap 1.1.1 on the same points, in one run.

    pip install dufomap==1.1.1  # the peer, in an environment of its own; without it ours alone
    python benchmarks/dynamic.py --dataset nuscenes --root data/nuscenes
    python benchmarks/dynamic.py --dataset pandaset --root ../shared/data/pandaset --scene 002

Truth are the annotated boxes: a return in a moving one moves, one elsewhere stands, those in boxes
of doubtful speed do not count. SA and DA are the shares (%) of standing and moving returns that are
told so, HA their harmonic mean (KTH DynamicMap); IoU is that of the moving returns.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driv3r.datasets import open_dataset
from driv3r.evaluation.metrics.motion import label_motion
from driv3r.fusion import FusionConfig
from driv3r.fusion.lidar import compare_sweeps, find_static_returns
from driv3r.fusion.sweeps import PlacedSweep, clean_sweep
from driv3r.types import Boxes, Scene

FARTHEST_M = 50.0
DUFOMAP_M = 0.1  # its authors' resolution; d_s 0.2, d_p 1


@dataclass(frozen=True, eq=False)
class Labelled:
    """A sweep and its boxes, None where it is not annotated."""

    sweep: PlacedSweep
    boxes: Boxes | None


def read_sweeps(scene: Scene) -> list[Labelled]:
    """All sweeps of a log."""
    found = []
    for index in range(len(scene.frames)):
        sweep = scene.frames[index].sweep
        if sweep is not None:
            points = clean_sweep(sweep.points_lidar)
            placed = PlacedSweep(points, sweep.world_T_lidar, sweep.time_us)
            found.append(Labelled(placed, None if scene.boxes is None else scene.boxes(index)))
    return found


def run_ours(sweeps: Sequence[PlacedSweep]) -> list[np.ndarray]:
    """Which returns of each sweep move."""
    config, count = FusionConfig(), len(sweeps)
    found = [compare_sweeps(sweeps.__getitem__, i, count, config) for i in range(count)]
    return [~find_static_returns(agrees, through) for agrees, through in found]


def run_dufomap(sweeps: Sequence[PlacedSweep]) -> list[np.ndarray]:
    """The same by DUFOMap at 0.1 m, with its authors' parameters."""
    from dufomap import dufomap  # pyright: ignore[reportMissingImports]

    peer = dufomap(DUFOMAP_M, 0.2, 1, num_threads=0)
    for sweep in sweeps:
        peer.run(sweep.points_lidar, sweep.world_T_lidar, True)
    peer.oncePropagateCluster(if_propagate=True, if_cluster=False)
    return [peer.segment(s.points_lidar, s.world_T_lidar, True) == 1 for s in sweeps]


def measure(
    logs: Sequence[Sequence[Labelled]], run: Callable[[Sequence[PlacedSweep]], list[np.ndarray]]
) -> dict[str, float]:
    """SA, DA, HA, IoU (%) and sweeps a second over all logs."""
    run([each.sweep for each in logs[0][:3]])  # compiles
    hit = missed = false = stood = 0
    seconds, count = 0.0, 0
    for log in logs:
        sweeps = [PlacedSweep(**_fields(each.sweep)) for each in log]  # nothing kept from before
        since = time.perf_counter()
        moving = run(sweeps)
        seconds, count = seconds + time.perf_counter() - since, count + len(sweeps)
        for each, found in zip(log, moving, strict=True):
            if each.boxes is None:
                continue
            moves, known = label_motion(each.sweep.points_world, each.boxes)
            known &= np.linalg.norm(each.sweep.points_lidar, axis=-1) < FARTHEST_M
            hit += int((found & moves & known).sum())
            missed += int((~found & moves & known).sum())
            false += int((found & ~moves & known).sum())
            stood += int((~found & ~moves & known).sum())
    sa, da = 100 * stood / max(stood + false, 1), 100 * hit / max(hit + missed, 1)
    return {
        "SA": sa,
        "DA": da,
        "HA": 2 * sa * da / max(sa + da, 1e-9),
        "IoU": 100 * hit / max(hit + missed + false, 1),
        "sweeps/s": count / seconds,
    }


def _fields(sweep: PlacedSweep) -> dict:
    names = ("points_lidar", "world_T_lidar", "time_us")
    return {name: getattr(sweep, name) for name in names}


def main() -> None:
    """Compare on the logs of a dataset."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--dataset", default="nuscenes")
    parser.add_argument("--root", type=Path, default=Path("data/nuscenes"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--scene", action="append", help="only these logs")
    parser.add_argument("--sweeps", action="store_true", help="all sweeps, not keyframes alone")
    given = parser.parse_args()
    reader = open_dataset(given.dataset, given.root, sweeps=given.sweeps)
    names = given.scene or reader.scenes(given.split)
    logs = [read_sweeps(reader.read(name)) for name in names]
    print(f"{len(logs)} logs, {sum(map(len, logs))} sweeps")
    figures = {"driv3r": measure(logs, run_ours)}
    try:
        figures["DUFOMap"] = measure(logs, run_dufomap)
    except ModuleNotFoundError:
        print("DUFOMap is not installed (pip install dufomap==1.1.1): ours alone")
    for name, values in figures.items():
        print(f"{name:8}" + "".join(f"  {what} {value:6.2f}" for what, value in values.items()))


if __name__ == "__main__":
    main()
