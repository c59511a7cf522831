"""Our network and the recipes it descends from, small, on equal clips, equally long.

python tools/compare.py [--steps 300] [--threads 2] [--table docs/recipes.md]

Three networks of 2.2 to 2.9 M trained parameters (ours sees XFeat's frozen features as well) are
trained from nothing on the same clips (64 x 112): ours (the whole one of tools/ablate.py) for some
steps, DUSt3R's (pairs and global alignment) and Driv3R's (a memory for each camera's squares, and
the rig) for the processor's seconds that ours took, which other work beside it does not lengthen.
Then `driv3r process` runs each over a split of the generated world. What is there already is not
made again.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ablate import SIZE_HW, VARIANTS, make_recipe
from safetensors.torch import save_file
from torch import Tensor, nn

from driv3r.evaluation.records import RunResult
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import apply, invert
from driv3r.models.driv3r.losses import compute_point_loss
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.streaming import fast_bf16
from driv3r.models.key_maps.base import KeyMap
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.pair_networks import PairConfig
from driv3r.models.published.spann3r import MemoryNetConfig, stack_answers
from driv3r.models.registry import MODELS, Aligner
from driv3r.pipelines.process import make_settings, process
from driv3r.simulator.export.clips import Clip, read_clip
from driv3r.training.augmentation import DeviceRandom, vary_appearance
from driv3r.training.config import AugmentationConfig
from driv3r.training.trainer import train
from driv3r.types import Refine

FAR_M, RATE = 80.0, 8e-4
PAIR = PairConfig(
    width=128, depth=3, heads=4, cross_width=128, cross_depth=3, cross_heads=4, patch=8, dpt=None
)
MEMORY = MemoryNetConfig(replace(PAIR, cross_depth=2), value_depth=1, value_heads=4)
OURS: dict[str, Refine] = {"ours": "own", "ours, the network alone (`--refine none`)": "none"}
FIGURES = (
    ("Abs Rel", "abs_rel", "metric"), ("median-scaled", "abs_rel", "per_view"),
    ("delta1", "delta1", "metric"), ("ego RPE %", "rpe_percent", "se3"),
    ("ATE m", "ate_rmse", "se3"),
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A published recipe: its network, how many images of how many columns train it at once."""

    title: str
    parent: str
    config: PairConfig | MemoryNetConfig
    aligner: Aligner
    answer: Callable[[nn.Module, Tensor], PointAnswer]
    batch: int
    frames: int
    columns: int


def answer_pairs(network: nn.Module, images: Tensor) -> PointAnswer:
    """Both images' points in the first one's camera."""
    return stack_answers(list(network(images[:, 0], images[:, 1])))


RECIPES = {
    "dust3r-recipe": Recipe(
        "DUSt3R's recipe: pairs, global alignment", "dust3r", PAIR, "pairwise", answer_pairs,
        batch=16, frames=2, columns=SIZE_HW[1],
    ),
    "driv3r-recipe": Recipe(
        "Driv3R's recipe: memory a camera, alignment by the rig", "driv3r", MEMORY, "rig",
        lambda network, images: network(images), batch=12, frames=4, columns=SIZE_HW[0],
    ),
}  # fmt: skip


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images [f h w 3] in 0..1 that vary as those of our network's training do."""
    random = DeviceRandom(int(rng.integers(2**62)), torch.device("cpu"))
    clip = torch.from_numpy(images).movedim(-1, 1)[None, :, None].float() / 255
    return vary_appearance(clip, AugmentationConfig(), random)[0, :, 0].movedim(1, -1).numpy()


def draw_sequence(clip: Clip, recipe: Recipe, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Successive images of one camera, in either order or mirrored; points in the first's camera.

    Images in -1..1, points [f h w 3], which of them are there and not too far.
    """
    frames = min(recipe.frames, len(clip.time_us))
    v, start = int(rng.integers(clip.K.shape[0])), int(rng.integers(len(clip.time_us) - frames + 1))
    x0 = int(rng.integers(SIZE_HW[1] - recipe.columns + 1))
    order = np.arange(start, start + frames)[:: 1 if rng.random() < 0.5 else -1]
    window = slice(x0, x0 + recipe.columns)
    images = augment(clip.images[order, v], rng)
    rays = rays_of(clip.cameras[v])
    depth_m = clip.depth_m[order, v].astype(np.float64)
    first_T_cam = invert(clip.world_T_cam[order[0], v]) @ clip.world_T_cam[order, v]
    points = np.stack(
        [apply(T, rays * d[..., None]) for T, d in zip(first_T_cam, depth_m, strict=True)]
    )
    valid = (depth_m > 0) & (depth_m < FAR_M)
    images, points, valid = (a[:, :, window] for a in (images, points, valid))
    if rng.random() < 0.5:
        images, points, valid = (a[:, :, ::-1] for a in (images, points * (-1, 1, 1), valid))
    return 2 * np.moveaxis(images, -1, 1) - 1, points, valid


def draw_batch(clips: list[Clip], recipe: Recipe, rng: np.random.Generator) -> list[Tensor]:
    """Images, points and validity of a batch."""
    drawn = [
        draw_sequence(clips[int(rng.integers(len(clips)))], recipe, rng)
        for _ in range(recipe.batch)
    ]
    images, points, valid = (np.stack(part) for part in zip(*drawn, strict=True))
    return [
        torch.from_numpy(images).float(), torch.from_numpy(points).float(), torch.from_numpy(valid)
    ]  # fmt: skip


def train_recipe(recipe: Recipe, clips: list[Clip], budget_s: float) -> tuple[nn.Module, int]:
    """A network trained for some seconds of the processor, and its steps."""
    torch.manual_seed(0)
    network = MODELS[recipe.parent].network(recipe.config)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02, betas=(0.9, 0.95))
    rng, since, steps, done = np.random.default_rng(0), time.process_time(), 0, 0.0
    bf16 = fast_bf16(torch.device("cpu"))
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 100, max((1 - done) / 0.35, 0.01))
        images, points, valid = draw_batch(clips, recipe, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            answer = recipe.answer(network, images)
        loss = compute_point_loss(answer.points, answer.confidence, points, valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps, done = steps + 1, (time.process_time() - since) / budget_s
        if steps % 100 == 0:
            print(f"{recipe.parent}: {done:.0%}, step {steps}, loss {loss.item():.3f}", flush=True)
    return network, steps


def train_ours(options: argparse.Namespace) -> dict:
    """Our network: its weights, steps and seconds of the processor."""
    folder = options.clips_beside / f"compare-{options.steps}"
    note, weights = folder / "cost.json", folder / "variant.safetensors"
    if not note.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut the seconds are not known
        since = time.process_time()
        train(make_recipe(VARIANTS["whole"], options.steps, options.clips), folder, workers=0)
        cost = {"weights": str(weights), "steps": options.steps}
        note.write_text(json.dumps(cost | {"seconds": time.process_time() - since}))
    return json.loads(note.read_text())


def train_theirs(name: str, folder: Path, clips: list[Clip], seconds: float) -> dict:
    """A recipe's network, likewise."""
    note, weights = folder / f"cost-{seconds:.0f}s.json", folder / f"{seconds:.0f}s.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    if not note.is_file():
        network, steps = train_recipe(RECIPES[name], clips, seconds)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
        note.write_text(json.dumps({"weights": str(weights), "steps": steps, "seconds": seconds}))
    return json.loads(note.read_text())


def run(
    name: str, aligner: str, weights: str, options: argparse.Namespace, refine: Refine = "own"
) -> RunResult:
    """The system over the split, in this process."""
    settings = make_settings(
        dataset="nuscenes", root=options.root, split=options.split, model=name, weights=weights,
        threads=options.threads, aligner=aligner, refine=refine,
    )  # fmt: skip
    folder = options.out / name / f"logs-{Path(weights).stem}-{refine}"
    done = process(settings, folder, inline=True)
    failed = [log for log in done.logs if log.state != "done"]
    if failed:
        raise SystemExit(f"{name}: {failed[0].log_id} failed: {failed[0].error}")
    return done


def make_row(title: str, name: str, cost: dict, done: RunResult) -> tuple[str, float]:
    """A line of the table, and seconds a surround frame."""
    frames = sum(log.frames for log in done.logs)
    seconds = sum(log.seconds["predict"] for log in done.logs) / frames
    values = {(s.metric, s.scaling): s.value
              for s in done.scores if s.subject == name and s.camera == "all"}  # fmt: skip
    entry = MODELS[name]
    network = Driv3r(VARIANTS["whole"].model) if entry.network is Driv3r else entry.build()
    size = sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6
    figures = " | ".join(f"{values[metric, scaling]:.3f}" for _, metric, scaling in FIGURES)
    return f"| {title} | {size:.2f} M | {cost['steps']} | {figures} | {seconds:.3f} |", seconds


def main() -> None:
    """Train what is not trained, run all, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips-beside", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--root", type=Path, default=Path("data/nuscenes"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cost = train_ours(options)
    rows = [
        make_row(title, "driv3r-s", cost, run("driv3r-s", "own", cost["weights"], options, refine))
        for title, refine in OURS.items()
    ]
    paths = sorted((options.clips_beside / "clips").glob("*.npz"))[: options.clips]
    clips = [read_clip(path) for path in paths]
    for name, recipe in RECIPES.items():
        MODELS[name] = replace(
            MODELS[recipe.parent], config=recipe.config, key_map=KeyMap(()), size_hw=SIZE_HW
        )
        theirs = train_theirs(name, options.out / name, clips, cost["seconds"])
        done = run(name, recipe.aligner, theirs["weights"], options)
        rows.append(make_row(recipe.title, name, theirs, done))
        print(rows[-1], flush=True)
    table = make_table(rows, cost, options)
    print(table)
    if options.table is not None:
        options.table.write_text(table)


def make_table(rows: list[tuple[str, float]], cost: dict, options: argparse.Namespace) -> str:
    """Markdown."""
    heads = " | ".join(head for head, _, _ in FIGURES)
    ratios = " and ".join(f"{seconds / rows[0][1]:.0f}" for _, seconds in rows[len(OURS) :])
    size = f"{SIZE_HW[0]} x {SIZE_HW[1]}"
    return "\n".join(
        [
            "# Our network against the recipes it descends from",
            "",
            f"`tools/compare.py`: all from nothing on the same {options.clips} clips of {size}, "
            f"{cost['seconds']:.0f} s of one core each, then",
            f"`driv3r process` over split `{options.split}` of the generated world, no odometry.",
            "Metres of the recipes come from the rig (ground, camera heights); pairs are aligned",
            "over each camera's three newest images. Seconds are of a whole surround frame of six",
            f"cameras, threads: {options.threads}, reading and resizing included: theirs are",
            f"{ratios} times ours.",
            "",
            f"| | trained parameters | steps | {heads} | s a frame |",
            "|---" * (4 + len(FIGURES)) + "|",
            *(line for line, _ in rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
