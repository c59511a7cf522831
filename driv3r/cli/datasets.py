"""`driv3r datasets`: what can be read, how to get it, and what of it is there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driv3r.cli.screen import ProgressBar, screen
from driv3r.errors import ConfigError

if TYPE_CHECKING:
    from driv3r.datasets.cards import DatasetCard
    from driv3r.datasets.check import DatasetCheck, SceneCheck, SensorCheck

app = typer.Typer(
    invoke_without_command=True, help="The datasets that can be read, and what of one is there."
)
NO_CARD = "tells nothing of itself (its reader has no card)"
MOST_KINDS = 6  # of repairs that are shown of a scene


@app.callback()
def datasets_list(context: typer.Context) -> None:
    """List the datasets; `driv3r datasets show X` tells more of one."""
    if context.invoked_subcommand is not None:
        return
    from driv3r.datasets import list_readers
    from driv3r.datasets.cards import card_of

    for name, make in list_readers().items():
        card = card_of(make)
        _say(f"{name}: {card.title if card else NO_CARD}")
        if card is not None:
            _say(f"  sensors  {card.sensors}")
            _say(f"  splits   {', '.join(card.splits)}")
            _say(f"  licence  {card.licence}")
            _say(f"  get it   {card.source}")
            if card.extra:
                _say(f"  needs    {_extra(card)}")


@app.command("show")
def datasets_show(
    name: Annotated[str, typer.Argument(help="A name of `driv3r datasets`.")],
) -> None:
    """Sensors, splits, licence, how to get it, and how its folder has to look."""
    from driv3r.datasets import choose_reader
    from driv3r.datasets.cards import card_of
    from driv3r.evaluation.metrics.protocol import PROTOCOLS

    card = card_of(choose_reader(name))
    if card is None:
        screen.print(f"{name} {NO_CARD}", soft_wrap=True)
        return
    protocol = f"--protocol {name}" if name in PROTOCOLS else "none of its own: name another's"
    facts = {
        "dataset": card.title,
        "sensors": card.sensors,
        "splits": ", ".join(card.splits),
        "licence": card.licence,
        "how to get it": card.source,
        "ego origin": card.ground,
        "depth protocol": protocol,
        "needs": _extra(card) or "nothing beside driv3r[torch]",
    }
    for fact, value in facts.items():
        _say(f"{fact + ':':<20}{value}")
    _say("the root, --root:")
    for line in card.layout.splitlines():
        _say(f"  {line}")


@app.command("check")
def datasets_check(
    name: Annotated[str, typer.Argument(help="A name of `driv3r datasets`.")],
    root: Annotated[Path, typer.Option(help="The dataset's folder.")],
    split: Annotated[str | None, typer.Option(help="One split. Default: all of them.")] = None,
    scene: Annotated[
        list[str] | None, typer.Option(help="Only this scene; may be given again.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many scenes.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Open files of first and last frames only.")
    ] = False,
    sweeps: Annotated[bool, typer.Option(help="All camera frames, not only keyframes.")] = False,
    rig: Annotated[Path | None, typer.Option(help="rig.yaml of one's own images.")] = None,
    split_file: Annotated[
        Path | None, typer.Option(help="The scene list of a DGP root that has several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option(help="Read files that links in the root lead to outside of it.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write JSON.")] = None,
) -> None:
    """Tell what is there, what is missing, which scenes are usable, and what looks wrong.

    Opens all images and sweeps (with --quick those of first and last frames), and compares up to
    10 frames of each scene: the LiDAR's road with the ego origin, things' ends in LiDAR with edges
    of images, boxes with points. Ends with 0 where all scenes are usable, 1 where some are not,
    2 where none is.

    Example: driv3r datasets check nuscenes --root /data/nuscenes --quick
    """
    from driv3r.datasets import choose_reader, open_dataset
    from driv3r.datasets.cards import card_of
    from driv3r.datasets.check import check_dataset

    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise ConfigError(f"can not write {json_file}: name a file in a folder that is there")
    card = card_of(choose_reader(name))
    reader = open_dataset(
        name, root, sweeps=sweeps, follow_links=follow_links, split_file=split_file, rig=rig
    )
    named = card.splits if card and not scene else ()
    splits = (split,) if split else tuple(dict.fromkeys((*named, "all")))
    with ProgressBar(f"check {name}", unit="scenes") as bar:
        checked = check_dataset(
            reader, splits, scene or (), limit, quick,
            lambda done, total: bar.update(name, "check", done, total),
        )  # fmt: skip
    _show_splits(checked)
    for each in checked.scenes:
        _show_scene(each)
    _show_notes(name, checked)
    screen.print(f"{checked.usable} of {len(checked.scenes)} scenes are usable", soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps(checked.to_json(), indent=1, allow_nan=False))
    if checked.status:
        raise SystemExit(checked.status)


def _say(line: str) -> None:
    screen.print(line, markup=False, highlight=False, soft_wrap=True)


def _extra(card: "DatasetCard") -> str:
    return f"pip install 'driv3r[{card.extra}]'" if card.extra else ""


def _show_splits(checked: "DatasetCheck") -> None:
    for split in checked.splits:
        said = split.problem or f"{len(split.scene_ids)} scenes"
        _say(f"split {split.split + ':':<16}{said}")


def _show_scene(scene: "SceneCheck") -> None:
    """A line of what is there; below it what is missing, repaired, and looks wrong."""
    if scene.error is not None:
        _say(f"{scene.scene_id}: NOT READABLE: {scene.error}")
        return
    state = "usable" if scene.usable else "NO IMAGE"
    speed = "poses not known"
    if scene.fastest_mps == scene.fastest_mps:
        speed = f"up to {scene.fastest_mps:.1f} m/s"
    lidar = "no LiDAR" if scene.lidar is None else f"sweeps {_share(scene.lidar)}"
    boxes = "no boxes"
    if scene.annotated_frames:
        boxes = f"{scene.boxes} boxes in {scene.annotated_frames} frames that were opened"
    _say(
        f"{scene.scene_id}: {state}: {scene.frames} frames ({scene.keyframes} keyframes), "
        f"{scene.seconds:.1f} s, {speed}; {lidar}; {boxes}"
    )
    _say("  images: " + ", ".join(f"{c.name} {_share(c)}" for c in scene.cameras))
    _show_measures(scene)
    for repair in scene.repairs[:MOST_KINDS]:
        _say(f"  repaired {repair.count} x: {repair.kind} (such as {repair.example})")
    if len(scene.repairs) > MOST_KINDS:
        _say(f"  and {len(scene.repairs) - MOST_KINDS} more kinds of repairs")
    for finding in scene.findings:
        _say(f"  {finding}")


def _share(sensor: "SensorCheck") -> str:
    broken = sensor.tried - sensor.opened
    return f"{sensor.share:.0%}" + (f" ({broken} of {sensor.tried} do not open)" if broken else "")


def _show_measures(scene: "SceneCheck") -> None:
    if scene.road is not None:
        off_m = scene.road.z_m - scene.ground_z_m
        _say(
            f"  road by LiDAR: z {scene.road.z_m:+.2f} m, {off_m:+.2f} m off ground_z_m "
            f"({scene.ground_z_m:g}), slope {scene.road.slope_deg:.1f} degrees"
        )
    if scene.edges is not None:
        said = f"{scene.edges.own:.2f} of the mean, beside {scene.edges.beside:.2f}"
        few = "" if scene.edges.is_told else " (too few to tell)"
        _say(f"  image edges at {scene.edges.ends} ends of things in LiDAR: {said}{few}")
    if scene.content is not None:
        _say(f"  boxes near LiDAR that hold points: {scene.content.filled} of {scene.content.near}")


def _show_notes(name: str, checked: "DatasetCheck") -> None:
    """What `driv3r process` would do without, over all scenes."""
    from driv3r.evaluation.metrics.protocol import PROTOCOLS

    usable = [scene for scene in checked.scenes if scene.usable]
    for note, applies in {
        f"no depth protocol is named {name}: give --protocol": name not in PROTOCOLS,
        "without LiDAR no depth is scored": any(
            scene.lidar is None or not scene.lidar.present for scene in usable
        ),
        "without poses nothing is scored, and --ego-poses given is refused": any(
            scene.fastest_mps != scene.fastest_mps for scene in usable
        ),
        "without boxes tracks are not scored": any(not s.annotated_frames for s in usable),
    }.items():
        if usable and applies:
            _say(f"note: {note}")
