"""The commands of the generated world."""

from pathlib import Path
from typing import Annotated

import typer

from driv3r.cli.screen import ProgressBar, screen
from driv3r.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="The generated driving world.")


@app.command("make")
def world_make(
    root: Annotated[
        Path | None, typer.Option(help="Folder to write; default: data/LAYOUT.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A name in configs/world, or a YAML file.")] = "demo",
    layout: Annotated[str, typer.Option(help="Whose: nuscenes, argoverse2, ...")] = "nuscenes",
    workers: Annotated[int, typer.Option(min=1, help="Rendering processes.")] = 2,
    replace: Annotated[
        bool, typer.Option(help="Delete another generated world that lies there.")
    ] = False,
) -> None:
    """Generate logs in the layout of nuScenes v1.0, or of another dataset.

    Nothing is done where the folder holds this very world.
    """
    from driv3r.config import find_config, load_config
    from driv3r.simulator.export.conversion import check_layout, write_world_as
    from driv3r.simulator.export.marker import NUSCENES, check_world, discard_world
    from driv3r.simulator.export.nuscenes_writer import WorldConfig

    check_layout(layout)
    root = root or Path("data") / layout
    parsed = load_config(find_config(recipe, "world"), WorldConfig)
    if replace:
        discard_world(root, parsed, layout)
    if check_world(root, parsed, layout):
        screen.print(f"{root} holds this world already", soft_wrap=True)
        return
    stages = 1 if layout == NUSCENES else 2
    with ProgressBar("render world", stages) as bar:
        write_world_as(
            layout, root, parsed, workers, lambda stage, done, n: bar.update("", stage, done, n)
        )
    screen.print(f"world: {root}", soft_wrap=True)


@app.command("preview")
def world_preview(
    seed: Annotated[int, typer.Option(help="The world's seed.")] = 0,
    kind: Annotated[str | None, typer.Option(help="A kind of scene instead of the seed's.")] = None,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("world.png"),
    width: Annotated[int, typer.Option(min=64, help="Of one camera's image, pixels.")] = 392,
) -> None:
    """Draw a contact sheet: six cameras at four times, then depth, motion and LiDAR."""
    import cv2

    from driv3r.simulator.export.preview import draw_preview

    sheet = draw_preview(seed, (round(width * 4 / 7), width), kind=kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), sheet[..., ::-1]):
        raise ConfigError(f"can not write {out}: name a .png in a folder that takes files")
    screen.print(f"preview: {out}", soft_wrap=True)
