"""Seconds, attention FLOPs and peak memory of every system as views grow.

    python benchmarks/forward.py [--models dust3r,vggt] [--views 2,6,12,24,48] [--threads 2]
    python benchmarks/forward.py --out docs/forward.md

All systems at one middle size (their own code, fewer and narrower layers, random weights). Each
measurement is a process of its own, so that its peak memory is its own. Pair systems take each view
with the next; `MB a view` over the views must not grow.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from driv3r.models.driv3r.inputs import Inputs, encode_rays
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.layers.dpt import DptConfig
from driv3r.models.published.mvdust3r import MvDust3r
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.published.slam3r import ImagesToPoints
from driv3r.models.published.spann3r import MemoryNet
from driv3r.models.published.spatial_memory import MemoryConfig
from driv3r.models.published.vggt import Vggt, VggtConfig
from driv3r.models.registry import MODELS
from driv3r.simulator.scene.camera_rig import make_rig

SIZE_HW = (128, 224)
TRUNK = {"width": 256, "depth": 6, "heads": 4}
CROSS = {"cross_width": 192, "cross_depth": 6, "cross_heads": 3}
DPT = DptConfig(hooks=(0, 2, 4, 6), widths=(48, 96, 96, 96), features=64, hidden=32)
# beside another network; same as dust3r; only of use at their full size
SKIPPED = ("slam3r-l2w", "dust3r-224", "monst3r", "driv3r-b", "driv3r-l")
INTRO = (
    "# What each system costs as views grow",
    "",
    "`python benchmarks/forward.py --out docs/forward.md` on two cores of an EPYC without AMX. All",
    "systems at one middle size (128 x 224; encoder 256 x 6, decoder 192 x 6, random weights), so",
    "that the rows compare designs and not sizes; driv3r-s as it is. Pair systems take each view",
    "with the next. Peak memory is above that after two views.",
    "",
)


def shrink(config: Any) -> Any:
    """A configuration at the middle size."""
    names = config.__dataclass_fields__
    sizes: dict[str, Any] = {k: v for k, v in (TRUNK | CROSS).items() if k in names}
    if "channels" in names:  # ours is of a middle size as it is
        return config
    if "skip_width" in names:
        sizes |= {"skip_width": 32, "gaussian_width": 96}
    if getattr(config, "dpt", None) is not None:
        sizes["dpt"] = DPT
    if hasattr(config, "pair"):
        sizes |= {"pair": shrink(config.pair), "memory": MemoryConfig()}
    if isinstance(config, VggtConfig):
        dense = replace(config.dense, widths=DPT.widths, features=64)
        sizes |= {"encoder_depth": 6, "encoder_heads": 4, "hooks": (0, 2, 4, 5)}
        sizes |= {"camera_heads": 4, "dense": dense, "features": replace(dense, embed_uv=False)}
    if getattr(config, "point_blocks", None) is not None:
        sizes["point_blocks"] = 2
    return replace(config, **sizes)


def run_pairs(network: nn.Module, images: Tensor) -> None:
    """Every view with the next."""
    for i in range(len(images) - 1):
        network(images[i : i + 1], images[i + 1 : i + 2])


def run_ours(network: nn.Module, images: Tensor) -> None:
    """Frames of six cameras (or fewer), one at a time."""
    cameras = make_rig(SIZE_HW).cameras[: len(images)]
    rays, K, ego_T_cam = (
        torch.from_numpy(np.stack(x)[None]).float()
        for x in zip(*[(encode_rays(c), c.K, c.ego_T_cam) for c in cameras], strict=True)
    )
    state = None
    for i, frame in enumerate(images.split(len(cameras))):
        count = len(frame)
        inputs = Inputs(
            (frame[None, None] + 1) / 2,
            torch.ones(1, 1, count, dtype=torch.bool),
            rays[:, :count],
            K[:, :count],
            ego_T_cam[:, :count],
            torch.full((1, 1), 0.5 * (i > 0)),
            torch.ones(1, count, dtype=torch.bool),
        )
        _, state = network(inputs, state)


def run_star(network: nn.Module, images: Tensor) -> None:
    """All views at once; the first four are references where the network has several."""
    assert isinstance(network, MvDust3r)
    network(images[None], min(4, len(images)) if network.config.across else 1)


def run_vggt(network: nn.Module, images: Tensor) -> None:
    """All views at once, cut to a multiple of its patches."""
    rows, columns = (n // 14 * 14 for n in images.shape[-2:])
    network((images[None, :, :, :rows, :columns] + 1) / 2)


RUNNERS: dict[type[nn.Module], Callable[[nn.Module, Tensor], Any]] = {
    PairNet: run_pairs,
    Driv3r: run_ours,
    ImagesToPoints: lambda network, images: network(images[None], 0),
    MemoryNet: lambda network, images: network(images[None]),
    MvDust3r: run_star,
    Vggt: run_vggt,
}


def count_attention(query, key, value, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """FLOPs of one call; torch counts only the GPU's operators by itself."""
    return sdpa_flop_count(query, key, value)


CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: count_attention}


def measure(name: str, views: int, precision: str, threads: int) -> dict[str, float]:
    """One forward pass after one that warms up (of two views)."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    entry = MODELS[name]
    network = entry.network(shrink(entry.config)).eval().requires_grad_(False)
    images = torch.rand(views, 3, *SIZE_HW) * 2 - 1
    run = RUNNERS[entry.network]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        run(network, images[:2])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        since = time.perf_counter()
        run(network, images)
        seconds = time.perf_counter() - since
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
        with counter:
            run(network, images)
    flops = counter.get_flop_counts()["Global"]
    attention = sum(n for op, n in flops.items() if "attention" in str(op))
    return {"seconds": seconds, "peak_mb": peak / 1024, "attention_gflop": attention / 1e9}


HEADER = """\
| model | views | precision | seconds | attention GFLOP | peak MB | MB a view |
|---|---|---|---|---|---|---|"""


def measure_all(names: list[str], views: list[str], threads: int) -> Iterator[str]:
    """A table's rows, each measured in a process of its own."""
    for name, precision, count in product(names, ("fp32", "bf16"), views):
        one = ["--one", f"{name},{count},{precision}", "--threads", str(threads)]
        command = [sys.executable, __file__, *one]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(result.stdout.splitlines()[-1])
        yield (
            f"| {name} | {count} | {precision} | {row['seconds']:.2f} | "
            f"{row['attention_gflop']:.2f} | {row['peak_mb']:.0f} | "
            f"{row['peak_mb'] / int(count):.1f} |"
        )


def main() -> None:
    """Measure each system in processes of their own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(n for n in MODELS if n not in SKIPPED))
    parser.add_argument("--views", default="2,6,12,24,48")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the table as a page")
    parser.add_argument("--one", help="model,views,precision: measure here and print JSON")
    options = parser.parse_args()
    if options.one:
        name, views, precision = options.one.split(",")
        print(json.dumps(measure(name, int(views), precision, options.threads)))
        return
    lines = [HEADER]
    print(HEADER, flush=True)
    for row in measure_all(options.models.split(","), options.views.split(","), options.threads):
        lines.append(row)
        print(row, flush=True)
    if options.out:
        options.out.write_text("\n".join([*INTRO, *lines, ""]))


if __name__ == "__main__":
    main()
