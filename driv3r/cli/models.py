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
    for name, entry in list_models().items():
        size = "x".join(str(n) for n in entry.size_hw)
        millions = f"{entry.count_parameters() / 1e6:.1f} M"
        table.add_row(name, millions, size, entry.scale, entry.weights_license)
    screen.print(table)


@app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A name of `driv3r models`.")]) -> None:
    """Inputs, outputs, licences, and where the official checkpoint is."""
    from driv3r.models.registry import choose_model

    entry = choose_model(name)
    millions = entry.count_parameters() / 1e6
    size = f"{millions:.1f} M parameters, {4 * millions / 1000:.2f} GB in fp32"
    facts = {
        "paper": entry.paper,
        "inputs": entry.inputs,
        "outputs": entry.outputs,
        "scale": entry.scale,
        "aligners": f"{', '.join(entry.aligners)} (the first is its own)",
        "image size": "{} x {} (height x width)".format(*entry.size_hw),
        "size": size,
        "checkpoint": entry.checkpoint,
        "licence of code": entry.code_license,
        "licence of weights": entry.weights_license,
        "network": f"{entry.network.__name__}({entry.config})",
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
    from driv3r.models.registry import choose_model

    tensors, construction = read_official(weights)
    count = check_official(choose_model(name), tensors, str(weights))
    screen.print(
        f"{weights} fits {name}: {len(tensors)} tensors, {count:,} parameters", soft_wrap=True
    )
    if construction:
        screen.print(f"it was saved from: {construction}", markup=False, soft_wrap=True)
