"""The check of one scene: what is there, what opens, and what its sensors say of each other."""

from collections.abc import Callable

from driv3r.datasets.check.motion import check_poses, check_speed, check_times, fastest_mps
from driv3r.datasets.check.presence import Tally
from driv3r.datasets.check.results import SceneCheck
from driv3r.datasets.check.rig import check_calibration
from driv3r.datasets.check.sensors import SensorComparison
from driv3r.datasets.folder.rig_check import Finding
from driv3r.datasets.reader import Reader
from driv3r.errors import Driv3rError
from driv3r.types import Boxes, Repair, Scene

NOT_KNOWN = float("nan")


def check_scene(
    reader: Reader,
    scene_id: str,
    quick: bool = False,
    report: Callable[[float], None] = lambda share: None,
) -> SceneCheck:
    """Read a scene and open its files, with `quick` only those of its first and last frame.

    What can not be read is in the result's `error`, a fault of a reader's own too. `report` hears
    the share that is done.
    """
    try:
        return _check(scene_id, reader.read(scene_id), quick, report)
    except (Driv3rError, OSError) as error:
        return SceneCheck(scene_id, f"{type(error).__name__}: {error}")
    except Exception as error:  # the other scenes are still to be told of
        return SceneCheck(
            scene_id,
            f"unexpected {type(error).__name__}: {error} (a fault of the reader or of driv3r)",
        )


def _check(scene_id: str, scene: Scene, quick: bool, report: Callable[[float], None]) -> SceneCheck:
    count = len(scene.frames)
    tally, comparison = Tally(scene), SensorComparison(scene.rig)
    opened = {0, count - 1} if quick else set(range(count))
    step = max(count // 10, 1)  # of the frames whose sensors are compared
    annotated, boxes_seen, lost = 0, 0, list[Repair]()
    for index in range(count):
        report(index / count)
        if index not in opened:
            tally.add_unopened(index)
            continue
        frame, boxes = scene.frames[index], _read_boxes(scene, index, lost)
        tally.add_frame(index, frame)
        annotated += boxes is not None
        boxes_seen += 0 if boxes is None else len(boxes.instance)
        if scene.poses_known and (quick or index % step == 0) and comparison.is_new(frame):
            comparison.add(frame, boxes)
    tally.add_repairs(lost)
    speed_mps, findings = _check_motion(scene, tally)
    cameras, lidar = tally.sensors()
    return SceneCheck(
        scene_id,
        frames=count,
        keyframes=int(scene.is_keyframe.sum()),
        seconds=float(scene.time_us[-1] - scene.time_us[0]) * 1e-6,
        fastest_mps=speed_mps,
        cameras=cameras,
        lidar=lidar,
        annotated_frames=annotated,
        boxes=boxes_seen,
        repairs=tally.repairs(),
        findings=(*findings, *check_calibration(scene.rig), *comparison.findings()),
        ground_z_m=scene.rig.ground_z_m,
        **comparison.measured(),
    )


def _check_motion(scene: Scene, tally: Tally) -> tuple[float, list[Finding]]:
    """The car's highest speed, NaN where poses are not known, and what is wrong with it all."""
    found = [*check_times(scene.time_us)]
    if not scene.poses_known:
        return NOT_KNOWN, found
    frames, world_T_ego = tally.poses()
    speed_mps = fastest_mps(scene.time_us[list(frames)], world_T_ego)
    return speed_mps, [*found, *check_poses(frames, world_T_ego), *check_speed(speed_mps)]


def _read_boxes(scene: Scene, index: int, lost: list[Repair]) -> Boxes | None:
    """The frame's boxes; broken ones are a repair, as they are in scoring."""
    if scene.boxes is None:
        return None
    try:
        return scene.boxes(index)
    except Driv3rError as error:
        lost.append(Repair("boxes", f"left out of scoring: {error}"))
        return None
