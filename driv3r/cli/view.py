"""`driv3r view`: finished logs in the browser."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from driv3r.cli.screen import complaints, screen
from driv3r.errors import DatasetError


def view(
    logs: Annotated[list[Path], typer.Argument(help="Logs' .zarr, or folders of them.")],
    root: Annotated[
        Path | None,
        typer.Option(help="The dataset's folder, for images and LiDAR. Default: the run's own."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: to all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    most_points: Annotated[int, typer.Option(min=1, help="Of the static map.")] = 1_000_000,
) -> None:
    """Look at finished logs in the browser: map, objects, cameras, depth and LiDAR through time.

    On another machine: ssh -L 8080:localhost:8080 HOST, then open http://localhost:8080 here.
    Ctrl-C ends it.

    Example: driv3r view out/demo
    """
    from driv3r.evaluation.rescore import find_stores
    from driv3r.reporting.viewer import LogViewer, ViewerConfig
    from driv3r.reporting.viewer.log_scene import LogScene
    from driv3r.store.reader import LogStore

    scenes = []
    for store in [store for path in logs for store in find_stores(path)]:
        log = LogStore.open(store)
        if root is not None:
            scenes.append(LogScene(log, root))
            continue
        try:
            scenes.append(LogScene(log, find_root(store)))
        except DatasetError as error:
            complaints.print(f"without images and LiDAR: {error}", markup=False, soft_wrap=True)
            scenes.append(LogScene(log))
    for scene in scenes:
        if scene.scale_note:
            screen.print(f"{scene.store.log_id}: {scene.scale_note}", markup=False, soft_wrap=True)
    viewer = LogViewer(scenes, ViewerConfig(host=host, port=port, most_points=most_points))
    screen.print(f"http://localhost:{viewer.port} (Ctrl-C ends it)", soft_wrap=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        viewer.stop()


def find_root(store: Path) -> Path | None:
    """The dataset that a log's run was made from, where it still lies there."""
    try:
        run = json.loads((store.parent / "run.json").read_text())
        root = Path(run["settings"]["root"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return root if root.is_dir() else None
