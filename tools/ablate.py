"""What each part of our network is worth: one is left out at a time, all trained equally long.

python tools/ablate.py [--steps 300] [--variants whole memory ...] [--table docs/ablations.md]

Every variant starts from nothing with the same seed, sees the same batches of the same small clips
(64 x 112, rendered where they are not there) and is judged on the same held-out worlds. A cut run
continues with the same command.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from driv3r.models.driv3r.losses import LossWeights
from driv3r.models.driv3r.network import Driv3rConfig
from driv3r.simulator.export.clips import ClipConfig
from driv3r.training.config import DataConfig, TrainConfig
from driv3r.training.trainer import train

SIZE_HW = (64, 112)
WHOLE = Driv3rConfig(size_hw=SIZE_HW, width=128, heads=2, stages=2, memory=4)
FIGURES = ("val_abs_rel", "val_motion_iou", "val_velocity_mps")


@dataclass(frozen=True)
class Variant:
    """A network and its losses."""

    title: str
    model: Driv3rConfig = WHOLE
    losses: LossWeights = LossWeights(motion=1.0)


VARIANTS = {
    "whole": Variant("whole"),
    "memory": Variant("no memory (the last image is still seen)", replace(WHOLE, memory=0)),
    "rig": Variant(
        "no attention across cameras, nor their images in the depth sweep",
        replace(WHOLE, rig=False),
    ),
    "rays": Variant("rays not told to the tokens (sweeps know them)", replace(WHOLE, rays=False)),
    "sigma": Variant("no learned sigma", losses=LossWeights(motion=1.0, sigma=False)),
    "pretrained": Variant("no pretrained features (XFeat)", replace(WHOLE, pretrained=False)),
    "matching": Variant("no matching evidence", replace(WHOLE, matching=False)),
}


def make_recipe(variant: Variant, steps: int, clips: int) -> TrainConfig:
    """The common recipe with a variant's network."""
    data = DataConfig(
        ClipConfig(size_hw=SIZE_HW), min_clips=clips, max_clips=clips, shapes=((2, 4), (3, 3))
    )
    return TrainConfig(
        "variant", variant.model, data, variant.losses, steps=steps, learning_rate=8e-4,
        ema_decay=0.99, validate_every=steps, validation_clips=16,
    )  # fmt: skip


def main() -> None:
    """Train each variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.variants:
        folder = train_variant(name, options.out, options.steps, options.clips)
        rows.append((VARIANTS[name].title, read_last(folder)))
        print(*rows[-1], flush=True)
    table = make_table(rows, options.steps, options.clips)
    print(table)
    if options.table is not None:
        options.table.write_text(table)


def train_variant(name: str, out: Path, steps: int, clips: int) -> Path:
    """The folder of a variant's run, trained if it is not yet."""
    folder = out / f"{name}-{steps}"
    if not (folder / "card.json").is_file():
        train(make_recipe(VARIANTS[name], steps, clips), folder, workers=0)
    return folder


def read_last(folder: Path) -> dict:
    """The last row of a finished run's history."""
    return json.loads((folder / "card.json").read_text())["history"][-1]


def make_table(rows: list[tuple[str, dict]], steps: int, clips: int) -> str:
    """Markdown."""
    lines = [
        "# What each part is worth",
        "",
        f"Each network was trained from nothing for {steps} steps on the same {clips} clips of "
        f"{SIZE_HW[0]} x {SIZE_HW[1]} and judged on 16 held-out worlds (`tools/ablate.py`).",
        "",
        "| left out | Abs Rel | motion IoU | velocity error m/s |",
        "|---|---|---|---|",
    ]
    for title, row in rows:
        lines.append(f"| {title} | " + " | ".join(f"{row[key]:.3f}" for key in FIGURES) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
