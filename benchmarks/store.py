"""Our store against what research forks write: float32 xyz pointmaps by numpy.save.

    python benchmarks/store.py LOG.zarr

Reads a finished log, writes its predictions both ways into a temporary folder in the same run, and
prints size and time as ratios. Both are flushed to the disk before the clock stops. Then asks the
log what its reconstruction holds: a box of 20 m x 20 m and 1 s around the car and a depth image,
beside a mask over all points that numpy has in memory.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from driv3r.store.reader import LogStore
from driv3r.store.writer import LogWriter


def time_store(store: LogStore, folder: Path) -> float:
    """Seconds to write every frame with the store's own writer."""
    frames = range(len(store.time_us))
    records = [store.record(frame) for frame in frames]
    writer = LogWriter(folder, store.header)
    since = time.perf_counter()
    for frame, record in zip(frames, records, strict=True):
        writer.write_frame(frame, record)
    writer.seal()
    return time.perf_counter() - since


def time_numpy(store: LogStore, folder: Path) -> float:
    """Seconds to write xyz, sigma and motion of every frame as float32 .npy files."""
    folder.mkdir()
    seconds = 0.0
    for frame in range(len(store.time_us)):
        views = range(len(store.rig.cameras))
        prediction = store.prediction(frame)
        arrays = {
            "xyz": np.stack([store.points_world(frame, view) for view in views]),
            "sigma": prediction.sigma,
            "motion": prediction.motion,
        }
        since = time.perf_counter()
        for name, array in arrays.items():
            with (folder / f"{frame:06d}_{name}.npy").open("wb") as file:
                np.save(file, array.astype(np.float32))
                file.flush()
                os.fsync(file.fileno())
        seconds += time.perf_counter() - since
    return seconds


def time_queries(store: LogStore) -> dict[str, float]:
    """Median milliseconds of opening the log, and of questions to it once it is open."""
    frame = len(store.time_us) // 2
    at_us, half_s = int(store.time_us[frame]), 500_000
    place = store.world_T_ego()[frame, :3, 3]
    low, high = place - [10, 10, 5], place + [10, 10, 5]
    points = store.static().points_world
    camera = store.rig.cameras[0].name
    questions = {
        "open": lambda: LogStore.open(store.path).header,
        "box": lambda: store.box(low, high, at_us - half_s, at_us + half_s),
        "camera": lambda: store.camera(camera, at_us),
        "objects at a time": lambda: store.at(at_us),
        "numpy: mask over all points": lambda: points[((points >= low) & (points <= high)).all(-1)],
    }
    return {name: _median_ms(question) for name, question in questions.items()}


def _median_ms(question: Callable[[], object], times: int = 15) -> float:
    question()  # reads files and compiles
    taken = []
    for _ in range(times):
        since = time.perf_counter()
        question()
        taken.append(time.perf_counter() - since)
    return float(np.median(taken) * 1e3)


def measure_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Compare on one log."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("log", type=Path, help="a finished log, as `make demo` leaves in out/demo")
    store = LogStore.open(parser.parse_args().log)
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours.zarr", Path(name) / "numpy"
        seconds = time_store(store, ours), time_numpy(store, theirs)
        size = measure_bytes(ours), measure_bytes(theirs)
    print(f"{store.log_id}: {len(store.time_us)} surround frames")
    print(f"size: {size[1] / size[0]:.1f}x smaller than numpy.save of float32 xyz, sigma, motion")
    print(f"time to write: {seconds[0] / seconds[1]:.2f} of numpy.save's")
    for name, taken_ms in time_queries(store).items():
        print(f"{name}: {taken_ms:.1f} ms")


if __name__ == "__main__":
    main()
