"""The commands that train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from driv3r.training.log_source import LogSplit


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
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Also learn from a dataset's LiDAR; may be given again, with its --root."
        ),
    ] = None,
    root: Annotated[list[Path] | None, typer.Option(help="Its folder.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Its split, or a scene's name.")] = None,
    log_share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the batches that is of logs.")
    ] = 0.5,
) -> None:
    """Train a network on generated worlds, and on logs. A cut run continues with the same command.

    Example, on one GPU with 16 cores beside it: driv3r train driv3r-s --device cuda --workers 13

    Example: driv3r train my.yaml --dataset nuscenes --root /data/nuscenes --split train
    --dataset pandaset --root /data/pandaset --split 002
    """
    from dataclasses import replace

    from driv3r.config import find_config, load_config
    from driv3r.training.config import TrainConfig
    from driv3r.training.trainer import train as run_training

    config = load_config(find_config(recipe, "train"), TrainConfig)
    if seconds:
        config = replace(config, steps=0, seconds=seconds)
    folder = out or Path("runs") / config.name
    logs = _open_logs(dataset or [], root or [], split or [])
    path = run_training(
        config, folder, device, lambda row: print(row, flush=True), workers, logs, log_share
    )
    print(f"weights: {path}")


def _open_logs(datasets: list[str], roots: list[Path], splits: list[str]) -> list["LogSplit"]:
    """Readers of the datasets, each with its root and split."""
    from driv3r.datasets import open_dataset
    from driv3r.errors import ConfigError
    from driv3r.training.log_source import LogSplit

    if not len(datasets) == len(roots) == len(splits):
        raise ConfigError(
            f"{len(datasets)} --dataset, {len(roots)} --root and {len(splits)} --split; expected "
            "as many of each: one root and one split for every dataset"
        )
    return [
        LogSplit(open_dataset(name, root), split)
        for name, root, split in zip(datasets, roots, splits, strict=True)
    ]


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
    supervision: Annotated[
        Literal["lidar", "images"],
        typer.Option(
            help="What is learned from: the LiDAR's depth, or images alone, which must look alike "
            "when one is warped to another."
        ),
    ] = "lidar",
    split_file: Annotated[
        Path | None, typer.Option(help="The scene list of a DGP root that has several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option(help="Read files that links in the root lead to outside of it.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Adapt our network to your own logs by LiDAR or images; tells figures before and after.

    The last moments of each log are held out: the weights that are best there are written, so
    where none is better the ones that were given.

    Example: driv3r adapt --dataset pandaset --root /data/pandaset --split 002
    """
    from driv3r.datasets import open_dataset
    from driv3r.training.adaptation.adapt import AdaptConfig
    from driv3r.training.adaptation.logs import adapt_to_logs

    config = AdaptConfig(minutes=minutes, supervision=supervision)
    adapted = adapt_to_logs(
        open_dataset(dataset, root, follow_links=follow_links, split_file=split_file), split, out,
        config, weights=weights, held_out_share=held_out, replay=replay, device=device,
        on_log=lambda row: print(row, flush=True),
    )  # fmt: skip
    for name, value in adapted.before.items():
        print(f"{name.removeprefix('val_')}: {value} before, {adapted.after[name]} after")
    print(f"weights: {out}; driv3r process ... --weights {out}")
