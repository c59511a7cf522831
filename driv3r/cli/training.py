"""The commands that train."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A name in configs/train, or a YAML file.")],
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<name>.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that render clips ahead; 0: all at the start.")
    ] = 1,
    seconds: Annotated[
        float, typer.Option(min=0, help="Train so long instead of as the recipe says.")
    ] = 0.0,
) -> None:
    """Train a network on generated worlds. A cut run continues with the same command.

    Example, on one GPU with 16 cores beside it: driv3r train driv3r-s --device cuda --workers 13
    """
    from dataclasses import replace

    from driv3r.config import find_config, load_config
    from driv3r.training.config import TrainConfig
    from driv3r.training.trainer import train as run_training

    config = load_config(find_config(recipe, "train"), TrainConfig)
    if seconds:
        config = replace(config, steps=0, seconds=seconds)
    folder = out or Path("runs") / config.name
    path = run_training(config, folder, device, lambda row: print(row, flush=True), workers)
    print(f"weights: {path}")


def adapt(
    dataset: Annotated[str, typer.Option(help="A name of `driv3r datasets`.")],
    root: Annotated[Path, typer.Option(help="Its folder.")],
    split: Annotated[str, typer.Option(help="A split of the dataset, or a scene's name.")],
    out: Annotated[Path, typer.Option(help="Weights to write.")] = Path("runs/adapted.safetensors"),
    weights: Annotated[Path | None, typer.Option(help="Default: the shipped ones.")] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 10.0,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of each log's last moments to judge by.")
    ] = 0.2,
    replay: Annotated[
        int, typer.Option(min=0, help="Generated clips among the logs', against forgetting.")
    ] = 6,
    split_file: Annotated[
        Path | None, typer.Option(help="The scene list of a DGP root that has several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option(help="Read files that links in the root lead to outside of it.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Adapt our network to your own logs by their LiDAR; tells figures before and after.

    The last moments of each log are held out: the weights that are best there are written, so
    where none is better the ones that were given.

    Example: driv3r adapt --dataset pandaset --root /data/pandaset --split 002
    """
    from driv3r.datasets import open_dataset
    from driv3r.training.adapt_logs import adapt_to_logs
    from driv3r.training.adaptation import AdaptConfig

    config = AdaptConfig(minutes=minutes)
    adapted = adapt_to_logs(
        open_dataset(dataset, root, follow_links=follow_links, split_file=split_file), split, out,
        config, weights=weights, held_out_share=held_out, replay=replay, device=device,
        on_log=lambda row: print(row, flush=True),
    )  # fmt: skip
    for name, value in adapted.before.items():
        print(f"{name.removeprefix('val_')}: {value} before, {adapted.after[name]} after")
    print(f"weights: {out}; driv3r process ... --weights {out}")
