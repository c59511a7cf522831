"""The Argoverse 2 reader against a real log: its own counts, flow labels and road agree.

The recording has no images: uniform ones are put at the times that its poses are given for.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pyarrow import feather
from scipy.spatial import KDTree

from driv3r.datasets import open_dataset
from driv3r.evaluation.metrics.flow import find_flow, split_ways
from driv3r.evaluation.metrics.motion import find_inside, label_motion
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, Scene

LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
SIZE_HW = {"ring_front_center": (2048, 1550), "stereo_front_right": (1550, 2048)}


@pytest.fixture(scope="module")
def real(recordings: Path) -> Path:
    if not (recordings / "argoverse2").is_dir():
        pytest.skip("no Argoverse 2 log beside the checkout (../shared/data/argoverse2)")
    return recordings / "argoverse2" / "val" / LOG


@pytest.fixture(scope="module")
def log(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root = tmp_path_factory.mktemp("argoverse2")
    shutil.copytree(real, root / "val" / LOG)
    poses_ns = feather.read_table(str(real / "city_SE3_egovehicle.feather"))["timestamp_ns"]
    for name, size_hw in SIZE_HW.items():
        folder = root / "val" / LOG / "sensors/cameras" / name
        folder.mkdir(parents=True)
        image = cv2.imencode(".jpg", np.full((*size_hw, 3), 90, np.uint8))[1].tobytes()
        for path in (real / "sensors/lidar").iterdir():
            nearest = min(poses_ns.to_pylist(), key=lambda t: abs(t - int(path.stem) - 9_000_000))
            (folder / f"{nearest}.jpg").write_bytes(image)
    return open_dataset("argoverse2", root).read(LOG)


def points_world_of(log: Scene, frame: int) -> np.ndarray:
    sweep = log.frames[frame].sweep
    assert sweep is not None
    return apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))


def boxes_of(log: Scene, frame: int) -> Boxes:
    assert log.boxes is not None
    boxes = log.boxes(frame)
    assert boxes is not None
    return boxes


def test_the_real_log_is_whole(log: Scene) -> None:
    assert [camera.name for camera in log.rig.cameras] == [*SIZE_HW]
    assert [camera.size_hw for camera in log.rig.cameras] == [*SIZE_HW.values()]
    assert len(log.repairs) == 7  # the cameras without a folder
    for frame in log.frames:
        assert frame.repairs == ()
        assert frame.sweep is not None
        assert len(frame.sweep.points_lidar) > 99_000
        for camera, view in zip(log.rig.cameras, frame.views, strict=True):
            assert view is not None
            # The car drives straight on, 0.1 m in a hundredth of a second.
            place = invert(frame.world_T_ego @ camera.ego_T_cam) @ view.world_T_cam
            assert np.linalg.norm(place[:3, 3]) < 0.15


def test_boxes_hold_as_many_points_as_their_makers_counted(log: Scene, real: Path) -> None:
    table = feather.read_table(str(real / "annotations.feather")).to_pylist()
    for i, path in enumerate(sorted((real / "sensors/lidar").iterdir())):
        counted = {
            row["track_uuid"]: row["num_interior_pts"]
            for row in table
            if row["timestamp_ns"] == int(path.stem)
        }
        boxes, points = boxes_of(log, i), points_world_of(log, i)
        assert set(boxes.instance) == set(counted)
        for name, world_T_box, size_m in zip(
            boxes.instance, boxes.world_T_box, boxes.size_m, strict=True
        ):
            assert find_inside(points, world_T_box, size_m, 0.0).sum() == counted[name]


def test_points_that_the_flow_labels_call_dynamic_lie_in_boxes_that_move(
    log: Scene, real: Path
) -> None:
    """Dynamic is a flow of 0.05 m in a tenth second beyond the car's own: 0.5 m/s, as ours."""
    labels = feather.read_table(str(real / "flow_labels.feather"))
    dynamic = labels["dynamic"].to_numpy()
    moving, known = label_motion(points_world_of(log, 0), boxes_of(log, 0))
    assert dynamic.sum() > 2000
    assert moving[dynamic & known].all()
    assert np.mean(known[dynamic]) > 0.99
    # Our boxes have a margin of 0.1 m, which takes in some of the road below them.
    assert np.mean(moving[~dynamic & known]) < 0.005


def test_a_cars_flow_is_its_boxs_velocity(log: Scene, real: Path) -> None:
    """The labels' flow takes points of the first sweep to the second one's ego frame."""
    labels = feather.read_table(str(real / "flow_labels.feather"))
    flow_m = np.stack([labels[f"flow_t{axis}_m"].to_numpy() for axis in "xyz"], axis=-1)
    points, boxes = points_world_of(log, 0), boxes_of(log, 0)
    before, after = (log.frames[i].world_T_ego for i in (0, 1))
    points_ego = apply(invert(before), points)
    way_m = apply(after, points_ego + flow_m) - points
    step_s = (log.time_us[1] - log.time_us[0]) * 1e-6
    fast = np.flatnonzero(boxes.speed_mps > 3)
    assert len(fast) > 8
    for i in fast:
        inside = find_inside(points, boxes.world_T_box[i], boxes.size_m[i], 0.0)
        if inside.sum() > 20:
            velocity_mps = np.median(way_m[inside], axis=0) / step_s
            np.testing.assert_allclose(velocity_mps, boxes.velocity_world_mps[i], atol=0.5)


def test_the_flow_that_tracks_are_scored_against_is_the_labels(log: Scene, real: Path) -> None:
    """Above the ground, where figures are of; the labels' own has the car's motion in it."""
    labels = feather.read_table(str(real / "flow_labels.feather"))
    flow_m = np.stack([labels[f"flow_t{axis}_m"].to_numpy() for axis in "xyz"], axis=-1)
    above = ~labels["is_ground_0"].to_numpy()
    foreground, dynamic = (labels[name].to_numpy() > 0 for name in ("classes", "dynamic"))
    before, after = (log.frames[i].world_T_ego for i in (0, 1))
    points_ego = apply(invert(before), points_world_of(log, 0))
    expected_m = apply(invert(before) @ after, points_ego + flow_m) - points_ego
    at = [
        dict(zip(boxes.instance, zip(ego_T_box, boxes.size_m, strict=True), strict=True))
        for boxes, world_T_ego in ((boxes_of(log, 0), before), (boxes_of(log, 1), after))
        for ego_T_box in [invert(world_T_ego) @ boxes.world_T_box]
    ]
    found_m, inside = find_flow(points_ego, invert(before) @ after, *at)
    assert np.mean(inside[above] == foreground[above]) > 0.9998
    assert inside[above & foreground].all()
    error_m = np.linalg.norm(found_m - expected_m, axis=-1)
    assert (above & dynamic).sum() > 1900
    assert error_m[above & dynamic].max() < 1e-6
    assert np.mean(error_m[above] > 2e-3) < 1e-3  # where boxes meet, and their margins
    ways = split_ways(expected_m[above], found_m[above], inside[above])
    assert len(ways["foreground_dynamic"]) == (above & dynamic).sum()


def test_the_real_road_is_a_third_of_a_metre_below_the_axle(log: Scene, real: Path) -> None:
    """Of the points that Argoverse's height map calls ground, those about the car."""
    labels = feather.read_table(str(real / "flow_labels.feather"))
    points_ego = apply(invert(log.frames[0].world_T_ego), points_world_of(log, 0))
    near = labels["is_ground_0"].to_numpy() & (np.linalg.norm(points_ego[:, :2], axis=1) < 10)
    assert near.sum() > 2000
    assert abs(np.median(points_ego[near, 2]) - log.rig.ground_z_m) < 0.05


def test_still_points_of_two_sweeps_meet_in_the_world(log: Scene) -> None:
    """Walls and posts within 30 m: nearer with each sweep's own pose than with one for both."""
    first, second = (points_world_of(log, i) for i in (0, 1))
    points_ego = apply(invert(log.frames[0].world_T_ego), first)
    chosen = (np.linalg.norm(points_ego[:, :2], axis=1) < 30) & (points_ego[:, 2] > 1)
    still = ~label_motion(first, boxes_of(log, 0))[0] & chosen
    one_pose = apply(log.frames[0].world_T_ego, apply(invert(log.frames[1].world_T_ego), second))
    own, other = (np.median(KDTree(to).query(first[still])[0]) for to in (second, one_pose))
    assert own < 0.08
    assert own < 0.6 * other
