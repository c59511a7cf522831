"""The PandaSet reader against real recordings: road, cuboids and image edges agree with LiDAR."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.spatial import KDTree

from driv3r.datasets import open_dataset
from driv3r.datasets.pandaset import CAMERAS, PandaSetReader
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert
from driv3r.types import Camera, Frame, Scene, Transform

HEAD_M = 1.5  # the spinning LiDAR above its poses' origin, about
STEP = np.radians(0.2)  # between its shots
SHIFTS = {"own": 0, "-8 px": -8, "+8 px": 8, "-16 px": -16, "+16 px": 16}


@pytest.fixture(scope="module")
def real(recordings: Path) -> Path:
    if not (recordings / "pandaset" / "002").is_dir():
        pytest.skip("no PandaSet sequence 002 beside the checkout (../shared/data/pandaset)")
    return recordings / "pandaset"


@pytest.fixture(scope="module")
def drive(real: Path) -> Scene:
    return open_dataset("pandaset", real).read("002")


def points_world_of(frame: Frame) -> np.ndarray:
    assert frame.sweep is not None
    return apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar.astype(np.float64))


def test_the_real_drive_is_whole_and_its_rig_rigid(drive: Scene) -> None:
    assert len(drive.frames) == 40
    assert drive.repairs == ()
    assert [camera.name for camera in drive.rig.cameras] == list(CAMERAS)
    headings = [np.degrees(np.arctan2(*c.ego_T_cam[[1, 0], 2])) for c in drive.rig.cameras]
    np.testing.assert_allclose(headings, [0, -58, -89, -178, 92, 58], atol=2)
    assert all(1.8 < camera.ego_T_cam[2, 3] < 2.2 for camera in drive.rig.cameras)
    for frame in (drive.frames[i] for i in (0, 39)):
        assert frame.repairs == ()
        for camera, view in zip(drive.rig.cameras, frame.views, strict=True):
            assert view is not None
            assert 0 < frame.time_us - view.time_us < 101_000
            # Within a tenth of a second the car only drives straight on, 0.6 m at most.
            place = invert(frame.world_T_ego @ camera.ego_T_cam) @ view.world_T_cam
            assert np.linalg.norm(place[:3, 3]) < 0.6
            assert angle_rad(place[None])[0] < np.radians(0.3)
    ego_T_ego = invert(drive.frames[38].world_T_ego) @ drive.frames[39].world_T_ego
    np.testing.assert_allclose(ego_T_ego[:3, 3], [1.1, 0, 0], atol=0.05)


def test_the_real_road_is_at_zero(drive: Scene) -> None:
    """The lowest return of each square metre within 20 m, over the whole drive."""
    heights_m = []
    for i in range(0, 40, 5):
        frame = drive.frames[i]
        points_ego = apply(invert(frame.world_T_ego), points_world_of(frame))
        range_m = np.linalg.norm(points_ego[:, :2], axis=1)
        near = points_ego[(range_m > 3) & (range_m < 20)]  # 3 m: not the car itself
        cells = pd.DataFrame(np.floor(near[:, :2]), columns=["x", "y"]).assign(z=near[:, 2])
        heights_m.append(cells.groupby(["x", "y"]).z.min().to_numpy())
        assert abs(np.median(heights_m[-1])) < 0.1
    assert abs(np.median(np.concatenate(heights_m))) < 0.05


def test_real_cars_lie_in_their_cuboids(real: Path, drive: Scene) -> None:
    """Across and along taken the wrong way round, or a turn of the wrong sign, lose half of it."""
    points_world = points_world_of(drive.frames[30])
    cuboids = PandaSetReader(real).read_cuboids("002", 30)
    counts = {"right": 0, "swapped": 0, "turned back": 0}
    for i in np.flatnonzero(np.array(cuboids.label) == "Car"):
        across, along, up = cuboids.size_m[i] / 2 + 0.05
        for name, half_m, sign in (
            ("right", (across, along, up), 1),
            ("swapped", (along, across, up), 1),
            ("turned back", (across, along, up), -1),
        ):
            turn = np.array([0, 0, sign * cuboids.yaw_rad[i]])
            points_box = apply(
                invert(from_rotvec(turn, cuboids.center_world[i].copy())), points_world
            )
            counts[name] += int((np.abs(points_box) <= half_m).all(axis=1).sum())
    assert counts["right"] > 1000
    assert max(counts["swapped"], counts["turned back"]) < 0.7 * counts["right"]


def measure_edges(image: np.ndarray) -> np.ndarray:
    """How steeply an image changes sideways, as a multiple of its mean, 8 at most."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    steep = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    return np.minimum(steep / steep.mean(), 8)


def find_rims(points_lidar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points where what is near ends sideways: their numbers, and the side (-1 left, 1 right)."""
    points_head = points_lidar - [0, 0, HEAD_M]
    flat_m = np.linalg.norm(points_head[:, :2], axis=1)
    azimuth = np.arctan2(points_head[:, 0], points_head[:, 1])
    elevation = np.arctan2(points_head[:, 2], flat_m)
    tree = KDTree(np.stack([azimuth, 6 * elevation], axis=1))  # 6: keep to the same beam
    a, b = tree.query_pairs(1.5 * STEP, output_type="ndarray").T
    near, far = np.where(flat_m[a] < flat_m[b], [a, b], [b, a])
    jumps = (flat_m[far] > 1.3 * flat_m[near] + 1) & (flat_m[near] < 30)
    beside = np.abs(azimuth[far] - azimuth[near]) > 0.5 * STEP
    near, far = near[jumps & beside], far[jumps & beside]
    return near, np.sign(azimuth[far] - azimuth[near])


def rate(
    camera: Camera,
    world_T_cam: Transform,
    rims_world: np.ndarray,
    side: np.ndarray,
    edges: np.ndarray,
    shift_px: int = 0,
) -> float:
    """Mean strength of the image's edges under the rims, all of them shifted sideways."""
    uv, _, inside = project(camera, apply(invert(world_T_cam), rims_world))
    half_px = STEP / 2 * camera.K[0, 0]  # a surface ends between the last shot on it and the next
    column = np.floor(uv[inside, 0] + side[inside] * half_px + shift_px).astype(int)
    row = np.floor(uv[inside, 1]).astype(int)
    seen = (column >= 0) & (column < camera.size_hw[1])
    return float(edges[row[seen], column[seen]].mean())


def test_real_depth_edges_are_image_edges(drive: Scene) -> None:
    """Each view at its own pose; not so some pixels aside, nor at the poses of a moment off.

    The recording itself is up to 6 pixels out in its left cameras, so that 8 pixels to one side
    alone can not be told.
    """
    rates: dict[str, list[float]] = {name: [] for name in (*SHIFTS, "driving", "before", "after")}
    for i in range(2, 39, 4):
        before, frame, after = drive.frames[i - 1 : i + 2]
        assert frame.sweep is not None
        near, side = find_rims(frame.sweep.points_lidar)
        rims_world = points_world_of(frame)[near]
        for v, camera in enumerate(drive.rig.cameras):
            view = frame.views[v]
            assert view is not None
            edges = measure_edges(view.image)
            for name, shift_px in SHIFTS.items():
                given = rate(camera, view.world_T_cam, rims_world, side, edges, shift_px)
                rates[name].append(given)
            if i < 20:  # the car all but stands
                continue
            for name, other in (("driving", frame), ("before", before), ("after", after)):
                view = other.views[v]
                assert view is not None
                rates[name].append(rate(camera, view.world_T_cam, rims_world, side, edges))
    mean = {name: np.mean(values) for name, values in rates.items()}
    assert mean["own"] > 1.5, mean
    assert mean["own"] > 1.02 * (mean["-8 px"] + mean["+8 px"]) / 2, mean
    assert mean["own"] > 1.08 * max(mean["-16 px"], mean["+16 px"]), mean
    assert mean["driving"] > 1.05 * max(mean["before"], mean["after"]), mean


def test_the_original_pickles_are_read(real: Path) -> None:
    """One moment of two cameras, written by an early pandas, with both LiDARs' points."""
    scene = open_dataset("pandaset", real).read("001")
    assert [camera.name for camera in scene.rig.cameras] == ["front_camera", "back_camera"]
    reasons = [repair.reason for repair in scene.repairs]
    assert sum("no such folder" in reason for reason in reasons) == 4
    assert sum("us off" in reason for reason in reasons) == 2  # one pose tells no speed
    (frame,) = scene.frames
    assert frame.repairs == ()
    assert frame.sweep is not None
    assert frame.sweep.points_lidar.shape == (106_886, 3)
    assert len(PandaSetReader(real).read_cuboids("001", 0).label) == 139
