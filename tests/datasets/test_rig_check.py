"""Each common mistake of a calibration is made to a good rig, and is named; a good rig has none."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from driv3r.datasets.folder.coverage import coverage, describe_view
from driv3r.datasets.folder.rig_check import check_images, check_rig, check_road
from driv3r.datasets.folder.rig_file import RigCamera, RigFile, make_rig

FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
SIZE_HW = (900, 1600)
LIDAR = np.array([[0.0, 1, 0, 0.9], [-1, 0, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]])


def place(yaw_deg: float, xyz: tuple[float, float, float], pitch_deg: float = 0.0) -> np.ndarray:
    turn = Rotation.from_euler("ZY", [yaw_deg, -pitch_deg], degrees=True).as_matrix()
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turn @ FORWARD, xyz
    return out


def camera(name: str, ego_T_cam: np.ndarray) -> RigCamera:
    K = np.array([[1250.0, 0, 802.1], [0, 1251.0, 447.3], [0, 0, 1]])
    return RigCamera(name, SIZE_HW, K, ego_T_cam)


def good() -> RigFile:
    places = {
        "front": place(0, (1.7, 0.0, 1.5), 1.0),
        "left": place(90, (1.0, 0.5, 1.5), -3.0),
        "right": place(-90, (1.0, -0.5, 1.5)),
        "back": place(180, (0.0, 0.0, 1.6), 8.0),
    }
    cameras = tuple(camera(name, at) for name, at in places.items())
    return RigFile(cameras, LIDAR, 0.0)


def change(**fields) -> Callable[[RigFile], RigFile]:
    def apply(file: RigFile) -> RigFile:
        made = {key: value(file.cameras[0]) for key, value in fields.items()}
        return dataclasses.replace(
            file, cameras=(dataclasses.replace(file.cameras[0], **made), *file.cameras[1:])
        )

    return apply


def change_places(make: Callable[[np.ndarray], np.ndarray]) -> Callable[[RigFile], RigFile]:
    def apply(file: RigFile) -> RigFile:
        moved = tuple(dataclasses.replace(c, ego_T_cam=make(c.ego_T_cam)) for c in file.cameras)
        return dataclasses.replace(file, cameras=moved)

    return apply


def scaled(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda place: np.block([[place[:3, :3], place[:3, 3:] * factor], [place[3:]]])


def turned(turn: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda place: np.block([[place[:3, :3] @ turn, place[:3, 3:]], [place[3:]]])


def intrinsics(**entries: float) -> Callable[[RigCamera], np.ndarray]:
    at = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}

    def make(given: RigCamera) -> np.ndarray:
        K = given.K.copy()
        for name, value in entries.items():
            K[at[name]] = value
        return K

    return make


def test_a_good_rig_has_no_finding() -> None:
    assert check_rig(good()) == []


@pytest.mark.parametrize(
    ("mistake", "level", "words"),
    [
        (change_places(scaled(100)), "wrong", "centimetres: divide the translations by 100"),
        (change_places(scaled(1000)), "wrong", "millimetres: divide the translations by 1000"),
        (change_places(np.linalg.inv), "wrong", "camera_T_ego, not ego_T_cam: give the inverse"),
        (change_places(turned(FORWARD.T)), "wrong", "x forward, y left, z up"),
        (change_places(turned(np.diag([1.0, -1, -1]))), "wrong", "OpenGL's"),
        (change_places(turned(np.diag([1.0, 1, -1]))), "wrong", "is a mirror: det R is -1"),
        (change_places(turned(1.1 * np.eye(3))), "wrong", "not orthonormal"),
        (lambda file: dataclasses.replace(file, ground_z_m=1.55), "wrong", "under the road"),
        (lambda file: dataclasses.replace(file, ground_z_m=-9.0), "doubtful", "unit of ego_T_cam"),
        (change(K=intrinsics(fx=2.8, fy=2.8)), "wrong", "not in millimetres"),
        (change(K=intrinsics(fx=200.0, fy=200.0)), "doubtful", "opencv_fisheye"),
        (change(K=intrinsics(fy=700.0)), "doubtful", "square pixels"),
        (change(K=intrinsics(cx=401, cy=223)), "doubtful", "about 803 x 447"),
        (change(size_hw=lambda _: (1600, 900)), "doubtful", "size_wh is width, then height"),
        (change(K=intrinsics(cx=800.0, cy=450.0)), "doubtful", "pixel_centre"),
        (change(K=intrinsics(cx=-5.0)), "wrong", "cx, cy -5.0"),
        (change(K=lambda given: given.K.T), "wrong", "transposed"),
    ],
)
def test_mistakes_are_named(mistake, level: str, words: str) -> None:
    findings = check_rig(mistake(good()))
    named = [finding for finding in findings if words in str(finding)]
    assert named, [str(finding) for finding in findings]
    assert named[0].level == level


def test_two_cameras_at_one_place() -> None:
    file = good()
    twin = dataclasses.replace(file.cameras[0], name="copy")
    (finding,) = check_rig(dataclasses.replace(file, cameras=(*file.cameras, twin)))
    assert (finding.level, finding.sensor) == ("wrong", "copy")
    assert "same place as front and looks the same way" in finding.given


def test_the_lidars_road_is_compared_with_ground_z() -> None:
    rng = np.random.default_rng(0)
    road = np.c_[rng.uniform(-15, 15, (4000, 2)), rng.normal(0, 0.02, 4000)]
    wall = np.c_[rng.uniform(5, 6, (1000, 2)), rng.uniform(0, 3, 1000)]
    points_ego = np.r_[road, wall]
    inverse = np.linalg.inv(LIDAR)
    points_lidar = points_ego @ inverse[:3, :3].T + inverse[:3, 3]
    assert list(check_road(good(), points_lidar)) == []
    (finding,) = check_road(dataclasses.replace(good(), ground_z_m=-0.4), points_lidar)
    assert "ground_z_m to 0.0" in finding.remedy.replace("-0.0", "0.0")
    upside = points_lidar[: len(road)] * np.array([1, -1, -1.0])
    (finding,) = check_road(good(), upside)
    assert "z 3." in finding.given
    assert "is its z up" in finding.remedy
    (finding,) = check_road(good(), points_lidar[:50])
    assert "points lie within" in finding.given


def test_blue_skies_that_are_red_are_told() -> None:
    sky = np.zeros((90, 160, 3), np.uint8)
    sky[:40], sky[40:] = (130, 170, 230), (90, 90, 90)
    assert list(check_images(good().cameras[0], [sky])) == []
    (finding,) = check_images(good().cameras[0], [sky[..., ::-1].copy()])
    assert "BGR" in finding.remedy


def test_directions_and_overlaps_are_those_that_the_rig_was_made_of() -> None:
    rig = make_rig(good())
    views = {view.name: view for view in map(describe_view, rig.cameras)}
    across_deg = np.degrees(np.arctan(802.6 / 1250) + np.arctan(797.4 / 1250))
    assert views["left"].yaw_deg == pytest.approx(90)
    assert views["back"].pitch_deg == pytest.approx(8)
    assert views["front"].across_deg == pytest.approx(across_deg, abs=0.01)
    around_deg, pairs = coverage(rig)
    assert around_deg == pytest.approx(4 * across_deg, abs=4)  # 65 degrees each: none overlap
    assert pairs == {}
    near = camera("second", place(30, (1.6, 0.3, 1.5)))
    _, pairs = coverage(make_rig(RigFile((good().cameras[0], near))))
    assert pairs["front", "second"] == pytest.approx(across_deg - 30, abs=1.5)
