"""Does a long log cost more per frame than a short one? Our network, one frame at a time.

    python benchmarks/streaming.py [--frames 410] [--threads 2]

Prints the latency around frame 400 over that around frame 10 in the same run, the growth of
resident memory between them, and surround frames a second.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.streaming import Streamer, StreamFrame
from driv3r.simulator.scene.camera_rig import make_rig

AROUND = 8  # frames on each side that the median is taken over


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Stream noise images and compare early with late frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=410)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, _ = load_weights(SHIPPED)
    rig = make_rig(model.config.size_hw)
    streamer, rng = Streamer(model, rig), np.random.default_rng(0)
    images = [
        [rng.integers(0, 255, (*model.config.size_hw, 3)).astype(np.uint8) for _ in rig.cameras]
        for _ in range(8)
    ]
    seconds, memory_mb = [], []
    for i in range(options.frames):
        since = time.perf_counter()
        streamer.step(StreamFrame(images[i % 8], 0.5 * (i > 0)))
        seconds.append(time.perf_counter() - since)
        memory_mb.append(resident_mb())
    early = statistics.median(seconds[10 - AROUND : 10 + AROUND])
    late = statistics.median(seconds[-10 - AROUND : -10 + AROUND])
    print(f"latency of frame {options.frames - 10} over frame 10: {late / early:.3f}")
    print(
        f"resident memory after frame 20 and at the end: {memory_mb[20]:.0f}, "
        f"{memory_mb[-1]:.0f} MB"
    )
    print(f"{1 / late:.2f} surround frames of {len(rig.cameras)} cameras a second")


if __name__ == "__main__":
    main()
