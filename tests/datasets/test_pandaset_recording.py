"""The PandaSet reader against real recordings: road, cuboids and image edges agree with LiDAR."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.check.edges import (
    SHIFTS_PX,
    Rims,
    find_rims,
    measure_edges,
    rate_edges,
    summarise,
)
from driv3r.datasets.pandaset import CAMERAS, PandaSetReader
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert
from driv3r.types import Frame, Scene


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


def test_real_depth_edges_are_image_edges(drive: Scene) -> None:
    """Each view at its own pose; not so some pixels aside, nor at the poses of a moment off.

    The recording itself is up to 6 pixels out in its left cameras, so that 8 pixels to one side
    alone can not be told.
    """
    rated: dict[str, list[tuple[Rims, np.ndarray]]] = {"own": [], "before": [], "after": []}
    for i in range(2, 39, 4):
        before, frame, after = drive.frames[i - 1 : i + 2]
        assert frame.sweep is not None
        step_rad, _ = measure_spacing(frame.sweep.points_lidar)
        points_world = points_world_of(frame)
        height_m = apply(invert(frame.world_T_ego), points_world)[:, 2]
        for v, camera in enumerate(drive.rig.cameras):
            view = frame.views[v]
            assert view is not None
            edges = measure_edges(view.image)
            for name, other in (("own", frame), ("before", before), ("after", after)):
                placed = other.views[v]
                assert placed is not None
                where = placed.world_T_cam
                rims = find_rims(camera, where, points_world, height_m, step_rad)
                rated[name].append((rims, rate_edges(rims, edges)))
    told = summarise(rated["own"])
    assert told.is_told
    assert told.agrees
    assert told.ends > 300
    assert told.own > 1.4 * told.beside, told
    assert abs(told.best_px) <= 4, told
    moved = [  # of the second half: the car all but stands before
        np.nanmean(np.concatenate([s[np.abs(SHIFTS_PX) <= 2].ravel() for _, s in rated[name][30:]]))
        for name in ("own", "before", "after")
    ]
    assert moved[0] > 1.3 * max(moved[1:]), moved


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
