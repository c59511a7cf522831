"""`driv3r fuse`: several logs of one place as one map."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from driv3r.cli.screen import ProgressBar, screen


def fuse(
    logs: Annotated[list[Path], typer.Argument(help="Logs' .zarr, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The map to write.")] = Path("out/map.zarr"),
    replace: Annotated[bool, typer.Option(help="Write a map that lies there anew.")] = False,
) -> None:
    """Join finished logs of one place into one static map, and mark what has changed.

    Logs are placed by their poses in the dataset's world. Each voxel tells how many visits have it
    and what the latest says: same, new, gone or unknown. Memory does not grow with the map, whose
    tiles lie on the disk.

    Example: driv3r fuse out/monday out/friday --out town.zarr
    """
    from driv3r.evaluation.rescore import find_stores
    from driv3r.pipelines.fuse_logs import fuse_logs

    paths = [store for path in logs for store in find_stores(path)]
    with ProgressBar("fuse") as bar:
        joint = fuse_logs(paths, out, replace, bar.update)
    table = Table(title=f"{len(joint.logs)} logs, {sum(joint.changes.values())} voxels")
    for column in ("first log", "second log", "voxels within 1 m", "median distance"):
        table.add_column(column)
    for overlap in joint.overlaps:
        if overlap.voxels:
            gap = f"{overlap.gap_m:.2f} m"
            table.add_row(overlap.first, overlap.second, str(overlap.voxels), gap)
    screen.print(table if table.rows else "no two of these logs overlap")
    counts = ", ".join(f"{count} {name}" for name, count in joint.changes.items())
    screen.print(f"change since the visit before: {counts}")
    screen.print(f"map: {joint.path}", soft_wrap=True)
