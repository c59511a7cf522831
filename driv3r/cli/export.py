"""`driv3r export`: finished logs in the formats of other programs."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from driv3r.cli.screen import ProgressBar, screen
from driv3r.errors import ConfigError

if TYPE_CHECKING:
    from driv3r.export import Exported, ExportSelection

ImageUse = Literal["none", "copy", "undistort"]


def export(
    logs: Annotated[
        list[Path] | None, typer.Argument(help="Logs' .zarr, or folders of them.")
    ] = None,
    to: Annotated[str, typer.Option(help="Formats of --list with commas between, or all.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Default: the folder export/ beside the log.")
    ] = None,
    min_weight: Annotated[
        int, typer.Option(min=0, help="Leave out static voxels of less weight.")
    ] = 0,
    frames: Annotated[
        str, typer.Option(help="A:B, as Python counts; 0:10 is the first ten.")
    ] = ":",
    layers: Annotated[
        str, typer.Option(help="Some of static,moving,path,cameras.")
    ] = "static,moving,path,cameras",
    crop: Annotated[
        str | None,
        typer.Option(help="x0,y0,z0,x1,y1,z1: metres of the log's world, for points and objects."),
    ] = None,
    images: Annotated[
        ImageUse, typer.Option(help="Images to colmap, nerfstudio, mcap, rerun. Needs --root.")
    ] = "none",
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder: images, and tokens of samples.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Write again what is there.")] = False,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show the formats and what they need.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Write finished logs in the formats of other programs, as OUT/<log>/<format>/.

    A format's folder appears when it is complete; export.json in it tells units, axes and what
    was left out. With `all`, a format that can not be written is skipped, and says why.

    Examples: driv3r export --list

    driv3r export out/demo/scene-0003.zarr --to ply,colmap,tum

    driv3r export out/demo --to all --min-weight 20 --frames 0:10

    driv3r export out/demo/scene-0003.zarr --to nerfstudio --images copy --root data/nuscenes
    """
    if show_list:
        show_formats()
        return
    from driv3r.evaluation.rescore import find_stores
    from driv3r.export import ExportSelection, export_log
    from driv3r.export.selection import parse_crop, parse_frames, parse_layers
    from driv3r.store.reader import LogStore

    if not logs or not to:
        raise ConfigError(
            "give logs and formats, such as: driv3r export out/demo --to ply,colmap; "
            "`driv3r export --list` shows the formats"
        )
    box = None if crop is None else parse_crop(crop)
    selection = ExportSelection(
        min_weight, parse_frames(frames), parse_layers(layers), box, images, root
    )
    formats, done = split(to), []
    stores = [LogStore.open(path) for log in logs for path in find_stores(log)]
    with ProgressBar("export", 1, quiet) as bar:

        def update(log: str, _: str, done: int, of: int) -> None:
            bar.update(log, "export", totals[log] * done // of, totals[log])

        totals = {store.log_id: len(store.time_us) for store in stores}
        for store in stores:
            update(store.log_id, "", 0, 1)
        for store in stores:
            place = out or store.path.resolve().parent / "export"
            done += export_log(store, formats, selection, place, replace, update)
    if not quiet:
        show_exported(done, selection)


def split(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def show_formats() -> None:
    """A table of the formats, what they hold, and the extra that brings their libraries."""
    from driv3r.export import list_formats
    from driv3r.export.packages import is_there

    table = Table("format", "what it is", "layers", "needs")
    for name, form in list_formats().items():
        there = all(is_there(module) for module in form.modules)
        needs = f"driv3r[{form.extra}]{'' if there else ' (not installed)'}" * bool(form.modules)
        table.add_row(name, form.summary, ", ".join(form.layers), needs.replace("[", "\\["))
    screen.print(table)


def show_exported(done: "list[Exported]", selection: "ExportSelection") -> None:
    """Sizes and seconds by format over all logs, what was skipped, and where it lies."""
    table = Table("format", "files", "MB", "s")
    rows: dict[str, list[Exported]] = defaultdict(list)
    for each in done:
        if not each.skipped:
            rows[each.format].append(each)
    for name, parts in rows.items():
        megabytes = sum(part.size_bytes for part in parts) / 1e6
        seconds = sum(part.seconds for part in parts)
        files = sum(len(part.files) for part in parts)
        table.add_row(name, str(files), f"{megabytes:.1f}", f"{seconds:.2f}")
    if rows:
        screen.print(table)
    skipped = {each.format: each.skipped for each in done if each.skipped}
    for name, reason in skipped.items():
        screen.print(f"{name} skipped: {reason}", markup=False, soft_wrap=True)
    if selection.images == "none" and rows.keys() & {"colmap", "colmap-text", "nerfstudio"}:
        screen.print(
            "images were not written: --images copy --root DATASET brings them", soft_wrap=True
        )
    for place in dict.fromkeys(each.folder.parent for each in done if not each.skipped):
        screen.print(f"export: {place}", soft_wrap=True)
