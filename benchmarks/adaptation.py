"""What a few minutes on the first moments of a recorded log are worth on its last ones.

python benchmarks/adaptation.py ../shared/data/pandaset [--sequence 002] [--minutes 10]
    [--supervision lidar|images]

Learns from the LiDAR or the images of the first 28 moments (the last of these held out to choose
by), judges by LiDAR the last 9, which it never saw, and held-out clips of generated worlds, by the
network alone.
"""

import argparse
from pathlib import Path

import torch

from driv3r.datasets import open_dataset
from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.training.adaptation.adapt import AdaptConfig, adapt, split_moments
from driv3r.training.adaptation.logs import render_replay
from driv3r.training.clip_pool import RawClip
from driv3r.training.config import FIRST_VAL_SEED
from driv3r.training.log_clips import LogClipConfig, read_log_clips
from driv3r.training.validation import validate

LEARNED, JUDGED = 28, 9
CPU = torch.device("cpu")


def read(
    root: Path, sequence: str, moments: tuple[int, int], size_hw: tuple[int, int], frames: int
) -> list[RawClip]:
    """Clips of some moments of a PandaSet sequence."""
    reader = open_dataset("pandaset", root)
    scene = reader.read(sequence)
    config = LogClipConfig(size_hw, frames, max(frames // 2, 1), moments=moments)
    return list(read_log_clips(scene, config, CPU))


def main() -> None:
    """Adapt, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sequence", default="002")
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--minutes", type=float, default=AdaptConfig.minutes)
    parser.add_argument("--rate", type=float, default=AdaptConfig.learning_rate)
    parser.add_argument("--clips", type=Path, default=Path("runs/adaptation-clips"))
    parser.add_argument("--supervision", choices=("lidar", "images"), default="lidar")
    options = parser.parse_args()
    network, _ = load_weights(options.weights)
    size_hw, config = (
        network.config.size_hw,
        AdaptConfig(options.minutes, options.rate, supervision=options.supervision),
    )
    learn, held_out = split_moments(LEARNED, 0.2)
    total = len(open_dataset("pandaset", options.root).read(options.sequence).frames)
    logs = read(options.root, options.sequence, learn, size_hw, 4)
    choose = read(options.root, options.sequence, held_out, size_hw, 2)
    last_clips = read(options.root, options.sequence, (total - JUDGED, total), size_hw, 3)
    replayed = render_replay(options.clips, 6, size_hw, 2, CPU)
    generated = render_replay(options.clips / "val", 6, size_hw, 2, CPU, FIRST_VAL_SEED + 500)
    adapted = adapt(network, logs, choose, replayed, config, lambda row: print(row, flush=True))
    print(f"{adapted.steps} steps in {options.minutes:g} minutes")
    print("| | Abs Rel before | after | delta1 before | after |\n|---|---|---|---|---|")
    for title, clips in ((f"last {JUDGED} moments", last_clips), ("generated val", generated)):
        rows = [validate(each, clips, 3) for each in (network, adapted.network)]
        figures = [f"{row[name]:.3f}" for name in ("val_abs_rel", "val_delta1") for row in rows]
        print(f"| {title} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
