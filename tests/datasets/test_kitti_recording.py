"""The KITTI reader against eight real stereo pairs: baseline, motion and road agree with images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from driv3r.datasets import open_dataset
from driv3r.geometry.cameras import pixel_grid, project, unproject
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Frame, Scene, Transform

PAIRS = 8
PERIOD_S = 0.1037  # the recording tells no times


def lay_out(given: Path, root: Path) -> Path:
    """The recording's files in the benchmark's own places; poses of the pairs that are there."""
    folder = root / "sequences" / "06"
    folder.mkdir(parents=True)
    for name, source in (("image_0", "image_l"), ("image_1", "image_r")):
        (folder / name).symlink_to(given / source)
    lines = [" ".join(line.split()) for line in (given / "calib.txt").read_text().split("\n")]
    (folder / "calib.txt").write_text("".join(f"P{i}: {line}\n" for i, line in enumerate(lines)))
    times = [f"{i * PERIOD_S:.6e}\n" for i in range(PAIRS)]
    (folder / "times.txt").write_text("".join(times))
    (root / "poses").mkdir()
    poses = (given / "poses.txt").read_text().splitlines()[:PAIRS]
    (root / "poses" / "06.txt").write_text("".join(f"{pose}\n" for pose in poses))
    return root


@pytest.fixture(scope="module")
def drive(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    given = recordings / "kitti_odometry" / "KITTI_sequence_1"
    if not given.is_dir():
        pytest.skip("no KITTI pairs beside the checkout (../shared/data/kitti_odometry)")
    root = lay_out(given, tmp_path_factory.mktemp("kitti"))
    return open_dataset("kitti", root, follow_links=True).read("06")


def grey_of(frame: Frame, camera: int) -> np.ndarray:
    view = frame.views[camera]
    assert view is not None
    return view.image[..., 0]


def match(frame: Frame) -> np.ndarray:
    """Disparity (px) of the left image, NaN where none is found."""
    matcher = cv2.StereoSGBM.create(
        minDisparity=1, numDisparities=96, blockSize=5, P1=200, P2=800, uniquenessRatio=15,
        speckleWindowSize=100, speckleRange=1, disp12MaxDiff=1,
    )  # fmt: skip
    found = matcher.compute(grey_of(frame, 0), grey_of(frame, 1)).astype(np.float64) / 16
    return np.where(found > 2, found, np.nan)


def lift(scene: Scene, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Points in the left camera's frame by disparity and the rig's baseline, and their pixels."""
    left, right = scene.rig.cameras
    baseline_m = (invert(left.ego_T_cam) @ right.ego_T_cam)[0, 3]
    depth_m = left.K[0, 0] * baseline_m / match(frame)
    uv = pixel_grid(left.size_hw)[np.isfinite(depth_m)]
    return unproject(left, uv) * depth_m[np.isfinite(depth_m)][:, None], uv


def differ(
    scene: Scene, points_cam: np.ndarray, grey: np.ndarray, other: Frame, other_T_cam: Transform
) -> float:
    """Median difference of grey values where another frame's left image sees the points."""
    uv, _, inside = project(scene.rig.cameras[0], apply(other_T_cam, points_cam))
    at = uv[inside, ::-1].T - 0.5
    seen = map_coordinates(grey_of(other, 0).astype(float), at, order=1, mode="nearest")
    return float(np.median(np.abs(seen - grey[inside])))


def test_the_real_pairs_are_whole(drive: Scene) -> None:
    assert drive.repairs == ()
    assert len(drive.frames) == PAIRS
    left, right = drive.rig.cameras
    assert left.size_hw == right.size_hw == (370, 1226)
    left_T_right = invert(left.ego_T_cam) @ right.ego_T_cam
    np.testing.assert_allclose(left_T_right[:3, 3], [0.537, 0, 0], atol=1e-3)
    ahead_m = [frame.world_T_ego[0, 3] for frame in drive.frames]
    assert np.all(np.diff(ahead_m) > 1.1)  # 11.5 m/s
    for frame in drive.frames:
        assert frame.repairs == ()
        assert frame.sweep is None


def test_real_pairs_are_rectified(drive: Scene) -> None:
    """Features of both cameras are in the same row, the right one's further left."""
    finder, pick = cv2.ORB.create(2000), cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
    frame = drive.frames[3]
    (left, a), (right, b) = (finder.detectAndCompute(grey_of(frame, i), None) for i in (0, 1))
    pairs = pick.match(a, b)
    way = np.array([np.subtract(left[m.queryIdx].pt, right[m.trainIdx].pt) for m in pairs])
    assert len(way) > 500
    assert np.median(np.abs(way[:, 1])) < 1.0
    assert np.mean(way[np.abs(way[:, 1]) < 2, 0] > -1) > 0.9


@pytest.mark.parametrize("step", [1, 3])
def test_real_motion_agrees_with_the_baseline(drive: Scene, step: int) -> None:
    """Points by disparity are seen by later frames at their poses; not so at longer ways."""
    ways: dict[float, list[float]] = {share: [] for share in (-1.0, 0.0, 0.8, 1.0, 1.25)}
    for i in range(0, PAIRS - step, 2):
        frame, other = drive.frames[i], drive.frames[i + step]
        view, later = frame.views[0], other.views[0]
        assert view is not None
        assert later is not None
        points_cam, uv = lift(drive, frame)
        grey = view.image[uv[:, 1].astype(int), uv[:, 0].astype(int), 0].astype(float)
        other_T_cam = invert(later.world_T_cam) @ view.world_T_cam
        for share, found in ways.items():
            moved = other_T_cam.copy()
            moved[:3, 3] *= share
            found.append(differ(drive, points_cam, grey, other, moved))
    mean = {share: np.mean(found) for share, found in ways.items()}
    assert mean[1.0] < 0.85 * min(v for share, v in mean.items() if share != 1.0), mean


def test_the_real_road_is_where_the_setup_says(drive: Scene) -> None:
    """A plane through the road ahead: its height below the cameras, and their tilt to it."""
    planes = []
    for frame in drive.frames:
        points_cam, _ = lift(drive, frame)
        x, y, z = apply(drive.rig.cameras[0].ego_T_cam, points_cam).T
        road = (x > 6) & (x < 20) & (np.abs(y) < 1.5) & (z < -1)
        planes.append(np.polyfit(x[road], z[road], 1))
    slope, height_m = np.median(planes, axis=0)
    assert height_m == pytest.approx(drive.rig.ground_z_m, abs=0.03)
    assert abs(np.degrees(np.arctan(slope))) < 1.0  # level, as the setup says: about
