"""Paths, read back by evo."""

import numpy as np
import pytest
from made_drive import ABSENT, START_US, STEP_US, make_cameras, place_ego

file_interface = pytest.importorskip("evo.tools.file_interface")
KNOWN = range(4)


def test_tum_is_the_car_and_its_cameras_as_evo_reads_them(export):
    folder = export("tum")
    path = file_interface.read_tum_trajectory_file(folder / "ego.txt")
    expected = [place_ego(START_US + STEP_US * frame) for frame in KNOWN]
    np.testing.assert_allclose(path.poses_se3, expected, atol=1e-8)
    np.testing.assert_allclose(
        path.timestamps, [(START_US + STEP_US * f) * 1e-6 for f in KNOWN], atol=1e-6
    )
    assert (folder / "ego.txt").read_text().splitlines()[1].startswith("1600000000.123456 ")
    back = file_interface.read_tum_trajectory_file(folder / "CAM_BACK.txt")
    seen = [frame for frame in KNOWN if (frame, 1) != ABSENT]
    camera = make_cameras()[1]
    expected = [place_ego(START_US + STEP_US * f + 10_000) @ camera.ego_T_cam for f in seen]
    np.testing.assert_allclose(back.poses_se3, expected, atol=1e-8)


def test_kitti_is_the_car_as_evo_reads_it(export):
    folder = export("kitti", frames=(1, 3))
    path = file_interface.read_kitti_poses_file(folder / "ego.txt")
    expected = [place_ego(START_US + STEP_US * frame) for frame in (1, 2)]
    np.testing.assert_allclose(path.poses_se3, expected, atol=1e-11)
    np.testing.assert_allclose(np.loadtxt(folder / "ego_times.txt"), [0.0, 0.5], atol=1e-9)
    assert (folder / "CAM_FRONT.txt").is_file()


def test_euroc_is_the_car_as_evo_reads_it(export):
    path = file_interface.read_euroc_csv_trajectory(export("euroc") / "data.csv")
    expected = [place_ego(START_US + STEP_US * frame) for frame in KNOWN]
    np.testing.assert_allclose(path.poses_se3, expected, atol=1e-8)
    assert path.timestamps[1] - path.timestamps[0] == pytest.approx(0.5)


def test_without_the_layer_of_cameras_there_is_the_car_only(export):
    assert {p.name for p in export("tum", layers=("path",)).glob("*.txt")} == {"ego.txt"}
