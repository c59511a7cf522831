"""The commands that tell of models."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from driv3r.cli.screen import screen

app = typer.Typer(
    invoke_without_command=True, help="The systems that run here, and what they need."
)


@app.callback()
def models_list(context: typer.Context) -> None:
    """List the systems; `driv3r models show X` tells more of one."""
    if context.invoked_subcommand is not None:
        return
    from driv3r.models.registry import list_models

    table = Table("model", "parameters", "image", "scale", "licence of weights")
    for name, card in list_models().items():
        size = "x".join(str(n) for n in card.size_hw)
        millions = f"{card.count_parameters() / 1e6:.1f} M"
        table.add_row(name, millions, size, card.scale, card.weights_license)
    screen.print(table)


@app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A name of `driv3r models`.")]) -> None:
    """Inputs, outputs, licences, and where the official checkpoint is."""
    from driv3r.models.registry import get_model

    card = get_model(name)
    millions = card.count_parameters() / 1e6
    size = f"{millions:.1f} M parameters, {4 * millions / 1000:.2f} GB in fp32"
    facts = {
        "paper": card.paper,
        "inputs": card.inputs,
        "outputs": card.outputs,
        "scale": card.scale,
        "aligners": f"{', '.join(card.aligners)} (the first is its own)",
        "image size": "{} x {} (height x width)".format(*card.size_hw),
        "size": size,
        "checkpoint": card.checkpoint,
        "licence of code": card.code_license,
        "licence of weights": card.weights_license,
        "network": f"{card.network.__name__}({card.config})",
    }
    for fact, value in facts.items():
        screen.print(f"{fact + ':':<20}{value}", markup=False, highlight=False, soft_wrap=True)


@app.command("check")
def models_check(
    name: Annotated[str, typer.Argument(help="A name of `driv3r models`.")],
    weights: Annotated[Path, typer.Option(help="A downloaded .safetensors or .pth file.")],
) -> None:
    """Say whether a checkpoint's names and shapes are the system's, before it is loaded."""
    from driv3r.models.official_checkpoints import check_official, read_official
    from driv3r.models.registry import get_model

    tensors, construction = read_official(weights)
    count = check_official(get_model(name), tensors, str(weights))
    screen.print(
        f"{weights} fits {name}: {len(tensors)} tensors, {count:,} parameters", soft_wrap=True
    )
    if construction:
        screen.print(f"it was saved from: {construction}", markup=False, soft_wrap=True)
