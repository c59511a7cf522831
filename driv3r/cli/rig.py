"""`driv3r rig`: look at a rig file, and make one from another calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from driv3r.cli.screen import screen
from driv3r.errors import ConfigError

if TYPE_CHECKING:
    from driv3r.datasets.folder import RigFile
    from driv3r.datasets.folder.rig_check import Finding
    from driv3r.types import Frame, Rig, Scene

app = typer.Typer(no_args_is_help=True, help="Check a rig.yaml, or make one.")
SHOWN_FRAMES = 3  # of a log, for what its images tell


@app.command()
def check(
    rig: Annotated[Path, typer.Argument(help="A rig.yaml.")],
    images: Annotated[
        Path | None, typer.Option(help="A log's folder: its images and LiDAR are looked at.")
    ] = None,
    lidar: Annotated[
        Path | None, typer.Option(help="A sweep. Default: the first of the log's lidar/.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A .html page, or a .png picture of the rig.")
    ] = None,
) -> None:
    """Tell what looks wrong about a rig, and draw it.

    Ends with 1 where something is wrong, 0 where it is only doubtful or fine.

    Example: driv3r rig check rig.yaml --images /data/drive --out check.html
    """
    from driv3r.datasets.folder import make_rig, read_rig_file
    from driv3r.datasets.folder.coverage import describe_coverage
    from driv3r.datasets.folder.rig_check import check_rig, check_road

    if out is not None and out.suffix not in (".html", ".png"):
        raise ConfigError(f"--out is {out}, expected a name that ends with .html or .png")
    file = read_rig_file(rig)
    findings = check_rig(file)
    wrong = [finding for finding in findings if finding.level == "wrong"]
    if wrong:
        _show(findings, [])
        note = "; no picture is drawn before what is wrong is mended" if out else ""
        screen.print(f"{len(wrong)} wrong{note}", soft_wrap=True)
        raise SystemExit(1)
    made = make_rig(file)
    scene = None if images is None else _open_log(images, rig)
    points_lidar = _read_sweep(file, images, lidar)
    findings += [] if scene is None else _check_log(file, scene)
    findings += [] if points_lidar is None else check_road(file, points_lidar)
    facts = [*describe_coverage(made), *_list_assumed(file, made)]
    _show(findings, facts)
    if out is not None:
        _draw(out, rig.name, facts, findings, made, scene, points_lidar)
        screen.print(f"drawn: {out}", soft_wrap=True)
    if any(finding.level == "wrong" for finding in findings):
        raise SystemExit(1)


def _list_assumed(file: "RigFile", made: "Rig") -> list[str]:
    """What is unknown of each camera, and what is taken instead."""
    from driv3r.datasets.folder.unknown import describe_unknown

    return [
        f"{note.where}: {note.reason}"
        for camera, given in zip(made.cameras, file.cameras, strict=True)
        for note in describe_unknown(camera, given.unknown, made.ground_z_m)
    ]


@app.command("from")
def make_from(
    kind: Annotated[str, typer.Argument(help="kalibr, colmap, ros-urdf, nuscenes or opencv.")],
    file: Annotated[Path, typer.Argument(help="Its file, or folder (colmap, nuscenes).")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("rig.yaml"),
    camera_info: Annotated[
        list[Path] | None,
        typer.Option(help="ros-urdf: a camera's intrinsics (camera_info YAML); again for each."),
    ] = None,
    metres_per_unit: Annotated[
        float | None, typer.Option(min=1e-9, help="colmap, opencv: what a unit of length is.")
    ] = None,
    height_m: Annotated[
        float | None, typer.Option(help="Of the first camera over the road, where none is told.")
    ] = None,
    yaw_deg: Annotated[
        float, typer.Option(help="Where the first camera looks, to the left of forward.")
    ] = 0.0,
    scene: Annotated[str | None, typer.Option(help="nuscenes: of this scene.")] = None,
    replace: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
) -> None:
    """Write a rig.yaml from another tool's calibration.

    Kalibr, COLMAP and OpenCV know no car: their first camera is taken to look level, `--yaw-deg`
    to the left of forward, `--height-m` over the road; the car's origin is on the road below it.

    Example: driv3r rig from kalibr camchain.yaml --height-m 1.6
    """
    from driv3r.datasets.folder import write_rig_file
    from driv3r.datasets.rig_formats import ImportOptions, import_rig

    if out.exists() and not replace:
        raise ConfigError(f"{out} is there; give another --out, or --replace to write over it")
    options = ImportOptions(tuple(camera_info or ()), metres_per_unit, height_m, yaw_deg, scene)
    rig, notes = import_rig(kind, file, options)
    write_rig_file(out, rig, f"driv3r rig from {kind} {file}\n{notes}")
    screen.print(f"{out}: {len(rig.cameras)} cameras. {notes}", markup=False, soft_wrap=True)
    screen.print(f"look at it: driv3r rig check {out}", markup=False, soft_wrap=True)


def _show(findings: Sequence["Finding"], facts: Sequence[str]) -> None:
    for line in facts:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    for finding in findings:
        screen.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    if not findings:
        screen.print("nothing looks wrong", soft_wrap=True)


def _open_log(images: Path, rig: Path) -> "Scene":
    from driv3r.datasets import open_dataset

    reader = open_dataset("folder", images, rig=rig)
    return reader.read(reader.scenes("all")[0])


def _choose_frames(scene: "Scene") -> list["Frame"]:
    places = np.linspace(0, len(scene.frames) - 1, min(SHOWN_FRAMES, len(scene.frames)))
    return [scene.frames[round(place)] for place in places.tolist()]


def _check_log(file: "RigFile", scene: "Scene") -> list["Finding"]:
    """Findings of a log's files and of some of its images."""
    from driv3r.datasets.folder.rig_check import Finding, check_images

    frames = _choose_frames(scene)
    expected, remedy = "files as docs/how-to/own-rig.md has them", "Mend it, or go on without"
    found = [Finding("doubtful", r.where, r.reason, expected, remedy) for r in scene.repairs]
    for i, camera in enumerate(scene.rig.cameras):
        given = next(each for each in file.cameras if each.name == camera.name)
        views = [frame.views[i] for frame in frames]
        found += check_images(given, [view.image for view in views if view is not None])
        if not any(views):
            told = [r.reason for frame in frames for r in frame.repairs if r.where == camera.name]
            none = f"none of {len(frames)} images can be read ({told[0]})"
            found.append(Finding("wrong", camera.name, none, expected, "Set size_wh, or mend it"))
    return found


def _read_sweep(file: "RigFile", images: Path | None, lidar: Path | None) -> "np.ndarray | None":
    """The sweep that is named, or the first of the log's, in the LiDAR's frame: without poses."""
    from driv3r.datasets.folder.lidar import list_sweeps, read_points

    if lidar is None and images is not None:
        sweeps = list_sweeps(images / "lidar", file.recording)
        lidar = sweeps[0][1] if sweeps else None
    return None if lidar is None else read_points(lidar, file.recording)


def _draw(
    out: Path,
    title: str,
    facts: Sequence[str],
    findings: Sequence["Finding"],
    rig: "Rig",
    scene: "Scene | None",
    points_lidar: "np.ndarray | None",
) -> None:
    from driv3r.geometry.transforms import apply
    from driv3r.reporting.rig_picture import draw_overlay, draw_rig, encode_png, make_page

    drawing = draw_rig(rig)
    if out.suffix == ".png":
        out.write_bytes(encode_png(drawing))
        return
    pictures = [("The rig", drawing)]
    if scene is not None:
        points_ego = None
        if points_lidar is not None and scene.rig.ego_T_lidar is not None:
            points_ego = apply(scene.rig.ego_T_lidar, points_lidar.astype(np.float64))
        for i, view in enumerate(scene.frames[0].views):
            if view is not None:
                overlay = draw_overlay(scene.rig, i, view.image, points_ego)
                pictures.append((scene.rig.cameras[i].name, overlay))
    out.write_text(make_page(title, facts, [str(each) for each in findings], pictures))
