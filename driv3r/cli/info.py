"""`driv3r info`: what would be done, and where, before it is done."""

from pathlib import Path
from typing import Annotated

import typer

from driv3r.cli.screen import screen
from driv3r.settings import Settings


def info(
    dataset: Annotated[str | None, typer.Option(help="A name of `driv3r datasets`.")] = None,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder.")] = None,
    split: Annotated[str, typer.Option(help="A split of it, or 'all'.")] = Settings.split,
    model: Annotated[str, typer.Option(help="A name of `driv3r models`.")] = Settings.model,
    weights: Annotated[Path | None, typer.Option(help="Default: the shipped ones.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where logs would go.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = Settings.device,
) -> None:
    """Tell what this machine has, and of a dataset what `driv3r process` would do: nothing is run.

    The time is that of one frame here, measured, times the frames.

    Example: driv3r info --dataset nuscenes --root /data/nuscenes --split val
    """
    from driv3r.api import default_out, make_settings
    from driv3r.pipelines.estimate import describe_here, estimate_run

    facts = describe_here()
    if dataset is not None:
        place = root or Path("data") / dataset
        settings = make_settings(
            dataset=dataset, root=place, split=split, model=model, weights=weights, device=device
        )
        facts |= estimate_run(settings, out or default_out(settings))
    for name, value in facts.items():
        screen.print(f"{name + ':':<20}{value}", markup=False, highlight=False, soft_wrap=True)
