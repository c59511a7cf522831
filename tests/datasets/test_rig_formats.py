"""Calibrations of other tools, against SciPy's rotations, OpenCV's files and nuScenes' tables."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_nuscenes
import yaml
from scipy.spatial.transform import Rotation

from driv3r.datasets.folder import make_rig, read_rig_file, write_rig_file
from driv3r.datasets.rig_formats import ImportOptions, import_rig
from driv3r.errors import ConfigError, DatasetError

HIGH = ImportOptions(height_m=1.6)
LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.6], [0, 0, 0, 1]])


def transform(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-0.5, 0.5, 3)).as_matrix()
    out[:3, 3] = rng.uniform(-0.5, 0.5, 3)
    return out


def kalibr(lens: str = "radtan") -> dict:
    camera = {
        "camera_model": "pinhole",
        "distortion_model": lens,
        "distortion_coeffs": [-0.2, 0.05, 1e-4, 2e-4],
        "intrinsics": [460.0, 459.0, 368.0, 247.0],
        "resolution": [752, 480],
    }
    chain = {f"cam{i}": dict(camera) for i in range(3)}
    for i in (1, 2):
        chain[f"cam{i}"]["T_cn_cnm1"] = transform(i).tolist()
    return chain


def test_a_kalibr_chain(tmp_path: Path) -> None:
    path = tmp_path / "camchain.yaml"
    path.write_text(yaml.safe_dump(kalibr()))
    rig, notes = import_rig("kalibr", path, HIGH)
    assert "1.6 m" in notes
    assert [camera.size_hw for camera in rig.cameras] == [(480, 752)] * 3
    np.testing.assert_allclose(rig.cameras[0].ego_T_cam, LEVEL, atol=1e-12)
    # A point of the last camera, led through the chain by the file's own matrices.
    point = np.array([0.3, -0.2, 4.0, 1.0])
    point_cam0 = np.linalg.solve(transform(1), np.linalg.solve(transform(2), point))
    np.testing.assert_allclose(rig.cameras[2].ego_T_cam @ point, LEVEL @ point_cam0, atol=1e-9)
    assert rig.cameras[1].distortion == (-0.2, 0.05, 1e-4, 2e-4)
    write_rig_file(tmp_path / "rig.yaml", rig, notes)
    assert make_rig(read_rig_file(tmp_path / "rig.yaml")).cameras[0].K[0, 2] == 368.5
    for lens, words in (
        ("equidistant", "opencv_fisheye"),
        ("fov", "expected one of pinhole-radtan"),
    ):
        path.write_text(yaml.safe_dump(kalibr(lens)))
        if lens == "fov":
            with pytest.raises(DatasetError, match=words):
                import_rig("kalibr", path, HIGH)
        else:
            assert import_rig("kalibr", path, HIGH)[0].cameras[0].lens == words


@pytest.mark.parametrize(
    ("model", "distortion", "before", "lens", "expected"),
    [
        ("omni", "radtan", [1.8], "mei", (1.8, -0.2, 0.05, 1e-4, 2e-4)),
        ("omni", "none", [1.8], "mei", (1.8, 0.0, 0.0, 0.0, 0.0)),
        ("ds", "none", [-0.2, 0.6], "double_sphere", (-0.2, 0.6)),
    ],
)
def test_kalibrs_wide_lenses(tmp_path: Path, model, distortion, before, lens, expected) -> None:
    chain = kalibr(distortion)
    for camera in chain.values():
        camera["camera_model"] = model
        camera["intrinsics"] = [*before, *camera["intrinsics"]]
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    rig, notes = import_rig("kalibr", tmp_path / "camchain.yaml", HIGH)
    assert (rig.cameras[1].lens, rig.cameras[1].distortion) == (lens, expected)
    write_rig_file(tmp_path / "rig.yaml", rig, notes)
    camera = make_rig(read_rig_file(tmp_path / "rig.yaml")).cameras[1]
    assert (camera.lens, camera.distortion, camera.K[0, 0]) == (lens, expected, 460.0)


def test_a_rig_of_no_car_needs_a_height(tmp_path: Path) -> None:
    path = tmp_path / "camchain.yaml"
    path.write_text(yaml.safe_dump(kalibr()))
    with pytest.raises(ConfigError, match="--height-m"):
        import_rig("kalibr", path, ImportOptions())
    turned, _ = import_rig("kalibr", path, ImportOptions(height_m=1.0, yaw_deg=90.0))
    np.testing.assert_allclose(turned.cameras[0].ego_T_cam[:3, 2], [0, 1, 0], atol=1e-12)
    with pytest.raises(ConfigError, match="known: kalibr"):
        import_rig("matlab", path, HIGH)


def test_a_colmap_model(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text(
        "# Camera list\n1 OPENCV 1600 900 1250 1251 800 450 0.1 0.01 0.001 0.002\n"
        "2 SIMPLE_RADIAL 1600 900 1200 800 450 -0.05\n7 FOV 640 480 1 2 3 4 5\n"
    )
    place = transform(3)  # sensor_from_rig
    x, y, z, w = Rotation.from_matrix(place[:3, :3]).as_quat()
    told = " ".join(map(str, [w, x, y, z, *place[:3, 3]]))
    (tmp_path / "rigs.txt").write_text(f"# Rig\n1 2 CAMERA 1 CAMERA 2 1 {told}\n")
    (tmp_path / "images.txt").write_text(
        "# Image list\n1 1 0 0 0 0 0 0 1 front/0001.jpg\n10 20 -1\n"
        "2 1 0 0 0 0 0 0 2 left/0001.jpg\n\n"
    )
    with pytest.raises(ConfigError, match="--metres-per-unit"):
        import_rig("colmap", tmp_path, HIGH)
    rig, _ = import_rig("colmap", tmp_path, ImportOptions(height_m=1.6, metres_per_unit=2.0))
    front, left = rig.cameras
    assert (front.name, left.name) == ("front", "left")
    assert front.distortion == (0.1, 0.01, 0.001, 0.002)
    assert left.distortion == (-0.05, 0.0, 0.0, 0.0)
    assert front.K[0, 2] == 799.5  # COLMAP's centres are at +0.5
    point = np.array([1.0, 2.0, 5.0])  # of the rig's frame, in metres
    at_left = place[:3, :3] @ point + 2.0 * place[:3, 3]
    np.testing.assert_allclose(
        left.ego_T_cam @ [*at_left, 1.0], front.ego_T_cam @ [*point, 1.0], atol=1e-9
    )
    (tmp_path / "rigs.txt").write_text(f"1 2 CAMERA 1 CAMERA 7 1 {told}\n")
    with pytest.raises(DatasetError, match="is a FOV"):
        import_rig("colmap", tmp_path, ImportOptions(height_m=1.6, metres_per_unit=2.0))
    (tmp_path / "rigs.txt").unlink()
    with pytest.raises(DatasetError, match=r"no rigs\.txt"):
        import_rig("colmap", tmp_path, HIGH)


def test_a_stereo_pair_of_opencv(tmp_path: Path) -> None:
    path = str(tmp_path / "stereo.yml")
    K, D = (
        np.array([[700.0, 0, 639.5], [0, 701, 359.5], [0, 0, 1]]),
        np.array([[-0.3, 0.1, 0, 0, 0]]),
    )
    turn, shift = transform(4)[:3, :3], np.array([[-120.0], [1.0], [2.0]])  # millimetres
    storage = cv2.FileStorage(path, cv2.FILE_STORAGE_WRITE)
    for name, value in {"M1": K, "D1": D, "M2": 1.01 * K, "D2": D, "R": turn, "T": shift}.items():
        storage.write(name, value)
    storage.write("image_width", 1280)
    storage.write("image_height", 720)
    storage.release()
    with pytest.raises(ConfigError, match="--metres-per-unit"):
        import_rig("opencv", Path(path), HIGH)
    rig, _ = import_rig("opencv", Path(path), ImportOptions(height_m=1.6, metres_per_unit=0.001))
    left, right = rig.cameras
    np.testing.assert_array_equal(left.K, K)
    assert right.distortion == (-0.3, 0.1, 0.0, 0.0, 0.0)
    point = np.array([0.5, 0.2, 6.0])
    at_right = turn @ point + shift[:, 0] * 0.001
    np.testing.assert_allclose(
        right.ego_T_cam @ [*at_right, 1.0], left.ego_T_cam @ [*point, 1.0], atol=1e-9
    )


@pytest.mark.parametrize("count", [12, 14, 6])
def test_thin_prisms_and_tilted_sensors_of_opencv(tmp_path: Path, count: int) -> None:
    path = tmp_path / "calibration.yml"
    given = np.linspace(0.001, 0.01, count)
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in (("image_width", 640), ("image_height", 480)):
        storage.write(name, value)
    storage.write("camera_matrix", np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]]))
    storage.write("distortion_coefficients", given)
    storage.release()
    if count == 6:
        with pytest.raises(DatasetError, match="6 distortion coefficients, expected OpenCV's"):
            import_rig("opencv", path, HIGH)
        return
    (camera,) = import_rig("opencv", path, HIGH)[0].cameras
    assert (camera.lens, len(camera.distortion)) == ("opencv", count)
    np.testing.assert_array_equal(camera.distortion, given)


@pytest.mark.parametrize("suffix", ["yml", "xml", "json"])
def test_one_camera_of_opencvs_sample(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out_camera_data.{suffix}"
    K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.array([[0.1], [-0.01], [0.0], [0.0]]))
    storage.write("fisheye_model", 1)
    storage.release()
    with pytest.raises(DatasetError, match="image_width and image_height"):
        import_rig("opencv", path, HIGH)
    text = path.read_text()
    at = {"yml": ("image_width: 640", "image_width: 640\nimage_height: 480"),
          "xml": ("<image_width>", "<image_height>480</image_height><image_width>"),
          "json": ('"image_width"', '"image_height": 480, "image_width"')}[suffix]  # fmt: skip
    path.write_text(text.replace(*at))
    (camera,) = import_rig("opencv", path, HIGH)[0].cameras
    assert (camera.lens, camera.distortion) == ("opencv_fisheye", (0.1, -0.01, 0.0, 0.0))
    np.testing.assert_array_equal(camera.K, K)
    path.write_text("nonsense")
    with pytest.raises(DatasetError, match="FileStorage"):
        import_rig("opencv", path, HIGH)


URDF = """<robot name="car">
  <joint name="a" type="fixed"><parent link="base_footprint"/><child link="base_link"/>
    <origin xyz="0 0 0.4"/></joint>
  <joint name="b" type="fixed"><parent link="base_link"/><child link="mast"/>
    <origin xyz="1 0.2 1.1" rpy="0.1 -0.2 0.3"/></joint>
  <joint name="c" type="fixed"><parent link="mast"/><child link="front_link"/>
    <origin xyz="0.1 0 0" rpy="0 0 0.5"/></joint>
  <joint name="d" type="fixed"><parent link="front_link"/><child link="left_optical_frame"/>
    <origin rpy="-1.5707963 0 -1.5707963"/></joint>
  <joint name="e" type="fixed"><parent link="base_link"/><child link="top_lidar"/>
    <origin xyz="0 0 1.9"/></joint>
  <joint name="f" type="revolute"><parent link="base_link"/><child link="arm_link"/></joint>
</robot>"""


def camera_info(path: Path, name: str, model: str = "plumb_bob") -> Path:
    content = {
        "image_width": 640,
        "image_height": 480,
        "camera_name": name,
        "camera_matrix": {"rows": 3, "cols": 3, "data": [500, 0, 319, 0, 500, 239, 0, 0, 1]},
        "distortion_model": model,
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_urdf(tmp_path: Path) -> None:
    urdf = tmp_path / "car.urdf"
    urdf.write_text(URDF)
    infos = tuple(camera_info(tmp_path / f"{name}.yaml", name) for name in ("front", "left"))
    rig, notes = import_rig("ros-urdf", urdf, ImportOptions(camera_info=infos))
    assert rig.ground_z_m == pytest.approx(-0.4)
    assert "base_footprint" in notes
    mast = Rotation.from_euler("xyz", [0.1, -0.2, 0.3])  # fixed axes
    body = mast * Rotation.from_euler("z", 0.5)
    place = mast.apply([0.1, 0, 0]) + [1, 0.2, 1.1]
    for camera in rig.cameras:  # the body's axes turned, and ROS's own optical frame, are the same
        np.testing.assert_allclose(camera.ego_T_cam[:3, 3], place, atol=1e-9)
        np.testing.assert_allclose(camera.ego_T_cam[:3, 2], body.apply([1, 0, 0]), atol=1e-6)
        np.testing.assert_allclose(camera.ego_T_cam[:3, 1], body.apply([0, 0, -1]), atol=1e-6)
        assert camera.lens == "opencv"
    np.testing.assert_allclose(rig.ego_T_lidar[:3, 3], [0, 0, 1.9])
    for name, model, words in (
        ("rear", "plumb_bob", "none of the links"),
        ("arm", "plumb_bob", "none of the links"),
        ("front", "omni", "omni is none of"),
    ):
        info = camera_info(tmp_path / "other.yaml", name, model)
        with pytest.raises(DatasetError, match=words):
            import_rig("ros-urdf", urdf, ImportOptions(camera_info=(info,)))
    with pytest.raises(ConfigError, match="--camera-info"):
        import_rig("ros-urdf", urdf, ImportOptions())


def test_a_nuscenes_scene_is_what_its_tables_say(tmp_path: Path) -> None:
    root = tiny_nuscenes.write(tmp_path / "root")
    rig, _ = import_rig("nuscenes", root, ImportOptions(scene=tiny_nuscenes.SCENES[0]))
    (tables,) = {path.parent for path in root.rglob("calibrated_sensor.json")}
    sensors = {
        row["token"]: row["channel"] for row in json.loads((tables / "sensor.json").read_text())
    }
    rows = json.loads((tables / "calibrated_sensor.json").read_text())
    told = {}
    for row in rows:
        told.setdefault(sensors[row["sensor_token"]], row)
    write_rig_file(tmp_path / "rig.yaml", rig)
    for camera in read_rig_file(tmp_path / "rig.yaml").cameras:
        row = told[camera.name]
        np.testing.assert_allclose(camera.K, row["camera_intrinsic"], atol=1e-9)
        w, x, y, z = row["rotation"]
        turn = Rotation.from_quat([x, y, z, w]).as_matrix()
        np.testing.assert_allclose(camera.ego_T_cam[:3, :3], turn, atol=1e-9)
        np.testing.assert_allclose(camera.ego_T_cam[:3, 3], row["translation"], atol=1e-9)
    with pytest.raises(ConfigError, match="--scene"):
        import_rig("nuscenes", root, ImportOptions())
