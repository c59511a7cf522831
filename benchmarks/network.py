"""Our network's forward pass: bf16, channels_last and torch.compile, each against going without.

    python benchmarks/network.py [--frames 24] [--threads 2] [--size 128x224]

Streams noise images of six cameras through the shipped weights in every way, in turns in one run,
and prints medians of whole surround frames as ratios to the plain one (fp32, contiguous).
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.streaming import Precision, Streamer, StreamFrame
from driv3r.simulator.scene.camera_rig import make_rig

WARM = 8  # frames until memory is full and all is compiled
ROUNDS = 3


@dataclass(frozen=True)
class Way:
    """How the network is run."""

    title: str
    precision: Precision
    channels_last: bool
    compiled: bool = False


WAYS = (
    Way("fp32, contiguous", "fp32", False),
    Way("fp32, channels_last", "fp32", True),
    Way("bf16, contiguous", "bf16", False),
    Way("bf16, channels_last (what the Streamer does)", "bf16", True),
    Way("the same, torch.compile", "bf16", True, compiled=True),
)


def load(way: Way, size_hw: tuple[int, int]) -> Streamer:
    """The shipped network in a way, at an image size."""
    shipped, _ = load_weights(SHIPPED)
    network = Driv3r(replace(shipped.config, size_hw=size_hw))
    network.load_state_dict(shipped.state_dict())
    streamer = Streamer(network, make_rig(size_hw), precision=way.precision)
    if not way.channels_last:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if way.compiled:
        network.compile(dynamic=False)
    return streamer


def feed(streamer: Streamer, frames: int) -> list[float]:
    """Seconds of each of some frames."""
    rng, seconds = np.random.default_rng(0), []
    size_hw, views = streamer.model.config.size_hw, streamer.rays.shape[1]
    for i in range(frames):
        images = list(rng.integers(0, 255, (views, *size_hw, 3)).astype(np.uint8))
        since = time.perf_counter()
        streamer.step(StreamFrame(images, 0.5 * (i > 0)))
        seconds.append(time.perf_counter() - since)
    return seconds


def main() -> None:
    """Measure all ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", default="128x224", help="rows x columns, multiples of 16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, columns = (int(n) for n in options.size.split("x"))
    streamers = {}
    for way in WAYS:
        streamer = load(way, (rows, columns))
        try:
            feed(streamer, WARM)
            streamers[way] = streamer
        except Exception as error:  # a compiler's failure is a finding, not an end
            print(f"{way.title}: fails ({type(error).__name__}: {str(error).splitlines()[0]})")
    seconds: dict[Way, list[float]] = {way: [] for way in streamers}
    for _ in range(ROUNDS):
        for way, streamer in streamers.items():
            seconds[way] += feed(streamer, options.frames)
    plain = statistics.median(seconds[WAYS[0]])
    for way, spent in seconds.items():
        typical = statistics.median(spent)
        print(f"{way.title}: {plain / typical:.2f}x, {1 / typical:.2f} surround frames/s")


if __name__ == "__main__":
    main()
