"""Where our network's depth errs on held-out clips, and what its matching sees there.

python tools/where_it_errs.py [WEIGHTS] [--clips runs/clips] [--count 8]

The clips are those that training judges by (rendered where they are not there), three frames each.
First Abs Rel to 80 m by what a pixel shows: of the answer, of the first depth before any matching,
of truth at strides 4 and 8 made large again (what a decoder of that stride could do at best). Then,
of the still things above the road by how far their depth spreads them over the camera's last image:
the share of cells whose depth is within a bin by XFeat alone, by the sweep features
alone, by the depth sweep, before any matching,
and in the answer.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.config import find_config, load_config
from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.cost_volume import DEPTH_RANGE_LOG_M, NUM_DEPTHS, depth_hypotheses
from driv3r.models.driv3r.inputs import Inputs
from driv3r.models.driv3r.losses import ROAD_M, SKY_DEPTH_M, Targets
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.reprojection import around_cell_centers, cell_center_log_depth
from driv3r.training.config import TrainConfig
from driv3r.training.validation import validation_batches

NEAREST_M, FARTHEST_M = 0.1, 80.0
EDGE_LOG_M = 0.25  # depth that changes so much within two pixels is an edge
BIN = (DEPTH_RANGE_LOG_M[1] - DEPTH_RANGE_LOG_M[0]) / (NUM_DEPTHS - 1)
PARALLAX = ((0, 2), (2, 10), (10, 1000))  # cells from the nearest hypothesis to the farthest

Sums = dict[tuple[str, str], np.ndarray]


def sort_pixels(inputs: Inputs, targets: Targets) -> dict[str, Bool[Tensor, "b t v h w"]]:
    """Which scored pixels are of the road, of still things above it and of moving ones.

    The latter two by whether they lie at an edge of depth.
    """
    depth_m = targets.depth_m
    scored = (depth_m > NEAREST_M) & (depth_m < FARTHEST_M)
    road = targets.height_m.abs().lt(ROAD_M) & ~targets.moving
    log_depth = to_log(depth_m).flatten(0, 1)
    span = F.max_pool2d(log_depth, 5, 1, 2) + F.max_pool2d(-log_depth, 5, 1, 2)
    edge = (span > EDGE_LOG_M).unflatten(0, depth_m.shape[:2])
    still = ~road & ~targets.moving
    return {
        "all": scored,
        "road": scored & road,
        "still, inside": scored & still & ~edge,
        "still, at edges": scored & still & edge,
        "moving, inside": scored & targets.moving & ~edge,
        "moving, at edges": scored & targets.moving & edge,
    }


def to_log(depth_m: Tensor) -> Tensor:
    """Log depth, of the sky as losses have it."""
    return torch.where(depth_m > 0, depth_m.clamp(NEAREST_M), SKY_DEPTH_M).log()


def coarsen(log_depth: Float[Tensor, "b t v h w"], stride: int) -> Float[Tensor, "b t v h w"]:
    """Values at the middles of cells, made large again."""
    return magnify(cell_center_log_depth(log_depth, stride=stride), log_depth.shape[-2:])


def magnify(maps: Float[Tensor, "b t v y x"], size: torch.Size) -> Float[Tensor, "b t v h w"]:
    """Bilinear."""
    large = F.interpolate(maps.flatten(0, 1), tuple(size), mode="bilinear", align_corners=False)
    return large.unflatten(0, maps.shape[:2])


def tally_depths(
    sums: Sums, depths: dict[str, Tensor], kinds: dict[str, Tensor], depth_m: Tensor
) -> None:
    """Add relative errors and counts of each way by each kind of pixel."""
    for way, log_depth in depths.items():
        error = (log_depth.exp() - depth_m).abs() / depth_m.clamp(NEAREST_M)
        for kind, chosen in kinds.items():
            sums[kind, way] += (error[chosen].sum().item(), chosen.sum().item())


def tally_matches(
    sums: Sums, ways: dict[str, Tensor], truth: Tensor, parallax: Tensor, chosen: Tensor
) -> None:
    """Add how many cells of each way are within a bin, and how many there are."""
    for low, high in PARALLAX:
        cells = chosen & (parallax >= low) & (parallax < high)
        for way, log_depth in ways.items():
            near = ((log_depth - truth).abs() < BIN)[cells]
            sums[f"{low} to {high} cells", way] += (near.sum().item(), near.numel())


@torch.no_grad()
def evaluate_clip(
    model: Driv3r, inputs: Inputs, targets: Targets, depths: Sums, matches: Sums
) -> None:
    """Run a clip and add to both tables."""
    given: list[tuple] = []
    hook = model.depth_sweep.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    outputs, _ = model(inputs)
    hook.remove()
    kinds, truth = sort_pixels(inputs, targets), to_log(targets.depth_m)
    ways = {
        "answer": outputs.log_depth,
        "before matching": magnify(outputs.coarse_log_depth, truth.shape[-2:]),
        "truth at stride 4": coarsen(truth, 4),
        "truth at stride 8": coarsen(truth, 8),
    }
    tally_depths(depths, ways, kinds, targets.depth_m)
    still = (
        around_cell_centers(kinds["still, inside"] | kinds["still, at edges"]).all(-3).flatten(-2)
    )
    still[:, 0] = False  # a first frame has no last image
    costs, depths_log_m = given[0][1], depth_hypotheses(truth)
    names = ("correlation", "sweep_mean", "seen", "parallax")
    shape = truth.shape[:2]
    xfeat, swept, seen, parallax = (
        getattr(costs, name)[:, 0].unflatten(0, shape) for name in names
    )
    xfeat, swept = (torch.where(seen > 0, cost, -torch.inf) for cost in (xfeat, swept))
    cells = {
        "XFeat alone": depths_log_m[xfeat.argmax(-1)],
        "sweep features alone": depths_log_m[swept.argmax(-1)],
        "depth sweep": depths_log_m[outputs.depth_log_prob.argmax(3).flatten(-2)],
        "before matching": outputs.coarse_log_depth.flatten(-2),
        "answer": cell_center_log_depth(outputs.log_depth).flatten(-2),
    }
    tally_matches(matches, cells, cell_center_log_depth(truth).flatten(-2), parallax.sum(-1), still)


def make_table(sums: Sums, total: float) -> str:
    """Markdown: a line a kind, its share, a column a way."""
    kinds, ways = (list(dict.fromkeys(key[i] for key in sums)) for i in (0, 1))
    lines = [f"| | share | {' | '.join(ways)} |", "|---" * (2 + len(ways)) + "|"]
    for kind in kinds:
        means = " | ".join(f"{sums[kind, w][0] / max(sums[kind, w][1], 1):.3f}" for w in ways)
        lines.append(f"| {kind} | {sums[kind, ways[0]][1] / total:.3f} | {means} |")
    return "\n".join(lines)


def main() -> None:
    """Run the network over the clips and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--clips", type=Path, default=Path("runs/clips"))
    parser.add_argument("--count", type=int, default=8)
    options = parser.parse_args()
    model, _ = load_weights(options.weights)
    depths, matches = (defaultdict(lambda: np.zeros(2)) for _ in range(2))
    recipe = load_config(find_config("driv3r-s", "train"), TrainConfig).data.clips
    held_out = validation_batches(options.clips, recipe, options.count, 3, torch.device("cpu"))
    for inputs, targets in held_out:
        evaluate_clip(model, inputs, targets, depths, matches)
    print(make_table(depths, depths["all", "answer"][1]), end="\n\n")
    print(make_table(matches, sum(matches[k][1] for k in matches if k[1] == "answer")))


if __name__ == "__main__":
    main()
