"""Training steps a second on a device, and what they are spent on.

    python benchmarks/training.py [--recipe driv3r-s] [--ways operators,sampled,kernels,compiled]
    python benchmarks/training.py --device cpu --tiny      # a rehearsal

Steps of the recipe's batches, of noise: `operators` are torch's, `sampled` has the kernel that
samples source features and multiplies, `kernels` that of group norm with GELU too, `compiled` also
the parts compiled that `compile: true` compiles. Each way begins alike and prints its last loss.
`--cache FILE` takes and leaves compiled code (torch.compiler.save_cache_artifacts).
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from driv3r.config import find_config, load_config
from driv3r.models.driv3r import sampled_correlation
from driv3r.models.layers import blocks
from driv3r.training.batches import draw_batch
from driv3r.training.checkpoints import Run
from driv3r.training.clip_pool import ClipPool, blank_clip
from driv3r.training.compiling import compile_parts
from driv3r.training.config import TrainConfig
from driv3r.training.trainer import start_run, take_step

WARM, TIMED, LINES = 3, 12, 40


def synchronize(device: torch.device) -> None:
    """Wait for what is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(run: Run, pool: ClipPool, steps: int) -> dict[str, float]:
    """Steps a second, the total loss of the last, and peak memory."""
    data, device = run.config.data, run.device
    since = time.perf_counter()
    for step in range(WARM):
        take_step(run, [draw_batch(pool, step, data)])
    synchronize(device)
    warm_s, since = time.perf_counter() - since, time.perf_counter()
    losses: dict[str, torch.Tensor] = {}
    for step in range(steps):
        losses = take_step(run, [draw_batch(pool, step, data)])
    synchronize(device)
    took_s = time.perf_counter() - since
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return {
        "steps_per_s": steps / took_s,
        "warm_s": warm_s,
        "loss": float(losses["total"]),
        "peak_gib": peak,
    }


def show_profile(run: Run, pool: ClipPool, out: Path | None) -> None:
    """What a step's device time goes into."""
    batch = [draw_batch(pool, 0, run.config.data)]
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        take_step(run, batch)
        synchronize(run.device)
    order = "self_cuda_time_total" if run.device.type == "cuda" else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=order, row_limit=LINES, max_name_column_width=70)
    if out is not None:
        out.write_text(table)
    print("\n".join(line[:72] + line[-110:] for line in table.splitlines()[:LINES]))


def shrink(config: TrainConfig) -> TrainConfig:
    """The rehearsal's size."""
    clips = replace(config.data.clips, size_hw=(64, 112))
    model = replace(config.model, size_hw=(64, 112))
    return replace(config, model=model, data=replace(config.data, clips=clips, shapes=((1, 2),)))


def main() -> None:
    """Measure the ways in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="driv3r-s")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ways", default="operators,sampled,kernels,compiled")
    parser.add_argument("--steps", type=int, default=TIMED)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for JSON and profiles")
    options = parser.parse_args()
    config = load_config(find_config(options.recipe, "train"), TrainConfig)
    config = shrink(config) if options.tiny else config
    config, device = replace(config, start_from=""), torch.device(options.device)
    if options.cache and options.cache.is_file():
        torch.compiler.load_cache_artifacts(options.cache.read_bytes())
    pool = ClipPool(config.data.pool_gib)
    data = config.data
    for _ in range(4):
        pool.add(blank_clip(data.clips.frames, data.views, data.clips.size_hw, device))
    dot, norm, rows = sampled_correlation.sampled_dot, blocks.group_norm_gelu, {}
    for way in options.ways.split(","):
        sampled_correlation.sampled_dot = None if way == "operators" else dot
        blocks.group_norm_gelu = None if way in ("operators", "sampled") else norm
        run = start_run(config, Path("no checkpoint"), device)
        if way == "compiled":
            compile_parts(run.model)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        rows[way] = measure(run, pool, options.steps)
        print(way, json.dumps(rows[way]), flush=True)
        out = options.out / f"{way}.txt" if options.out else None
        show_profile(run, pool, out)
        del run
    if options.out:
        (options.out / "training.json").write_text(json.dumps(rows, indent=1))
    artifacts = torch.compiler.save_cache_artifacts() if options.cache else None
    if artifacts is not None and options.cache:
        options.cache.write_bytes(artifacts[0])


if __name__ == "__main__":
    main()
