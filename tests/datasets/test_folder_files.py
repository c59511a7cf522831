"""rig.yaml, point clouds, fisheye images and videos, against what other libraries say of them."""

import copy
import functools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_folder as tiny
import yaml
from scipy.spatial.transform import Rotation

from driv3r.datasets import open_dataset
from driv3r.datasets.folder import make_rig, read_rig_file, write_rig_file
from driv3r.datasets.folder.lidar import read_points
from driv3r.datasets.folder.rig_check import check_rig
from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.folder.video import VideoFrames, list_times_us
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.cameras import project

POINTS = np.random.default_rng(0).uniform(-30, 30, (200, 3)).astype(np.float32)


def rig_of(tmp_path: Path, **changes):
    camera = tiny.camera("a", tiny.FRONT) | changes
    content = {"pixel_centre": "integer", "cameras": [camera]}
    return read_rig_file(tiny.write_rig(tmp_path / "rig.yaml", content))


def test_quaternions_in_both_orders_are_scipys_rotation(tmp_path: Path) -> None:
    turn = Rotation.from_euler("zyx", [0.3, -0.2, 1.1])
    xyzw = turn.as_quat().tolist()
    for key, value in {"quaternion_xyzw": xyzw, "quaternion_wxyz": xyzw[3:] + xyzw[:3]}.items():
        place = {"translation_m": [1, 2, 3], key: value}
        camera = rig_of(tmp_path, ego_T_cam=place).cameras[0]
        np.testing.assert_allclose(camera.ego_T_cam[:3, :3], turn.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(camera.ego_T_cam[:3, 3], [1, 2, 3])


def test_half_pixel_centres_are_kept_and_whole_ones_moved(tmp_path: Path) -> None:
    content = {"cameras": [tiny.camera("a", tiny.FRONT)]}
    for convention, cx in (("integer", 28.0), ("half", 27.5)):
        content["pixel_centre"] = convention
        file = read_rig_file(tiny.write_rig(tmp_path / "rig.yaml", content))
        assert make_rig(file).cameras[0].K[0, 2] == cx


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = rig_of(tmp_path, lens="opencv", distortion=[0.1, -2.5e-5, 0.0, 1e-7])
    write_rig_file(tmp_path / "b.yaml", file, "made by a test\nof two lines")
    again = read_rig_file(tmp_path / "b.yaml").cameras[0]
    assert again.distortion == file.cameras[0].distortion
    np.testing.assert_array_equal(again.K, file.cameras[0].K)
    np.testing.assert_array_equal(again.ego_T_cam, file.cameras[0].ego_T_cam)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'"),
        ({"lens": "omni"}, "not supported; known: pinhole, opencv, opencv_fisheye"),
        (
            {"lens": "opencv", "distortion": [0.1]},
            "1 distortion coefficients, expected 4 or 5 or 8",
        ),
        ({"distortion": [0.1, 0, 0, 0]}, "expected 0 of the lens pinhole"),
        ({"K": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]}, "expected either K"),
        ({"fx": None}, "all of fx, fy, cx, cy"),
        ({"ego_T_cam": [[1, 0], [0, 1]]}, "4 rows of 4 finite numbers"),
        (
            {"ego_T_cam": {"translation_m": [0, 0, 0], "quaternion": [1, 0, 0, 0]}},
            "quaternion_wxyz",
        ),
        (
            {"ego_T_cam": {"translation_m": [0, 0, 0], "quaternion_wxyz": [1, 1, 0, 0]}},
            "length 1",
        ),
        ({"name": "../a"}, "plain name"),
        ({"rectified_fov_deg": 90}, "only wide lenses"),
    ],
)
def test_bad_rig_files_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises((ConfigError, DatasetError), match=message):
        rig_of(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ego_T_cam": np.diag([1.0, 1, -1, 1]).tolist()}, "det R is -1, expected 0 and 1"),
        (
            {"ego_T_cam": {"translation_m": [150, 0, 160], "quaternion_wxyz": [1, 0, 0, 0]}},
            "metres",
        ),
        ({"fx": 0.3}, "pixels"),
    ],
)
def test_calibrations_that_no_car_has_are_refused(tmp_path: Path, changes, message) -> None:
    with pytest.raises(DatasetError, match=message):
        make_rig(rig_of(tmp_path, **changes))


def write_ply(path: Path, form: str) -> None:
    order = {"binary_big_endian": ">", "binary_little_endian": "<", "ascii": ""}[form]
    names = [("intensity", "u1"), ("x", f"{order}f4"), ("y", f"{order}f4"), ("z", f"{order}f8")]
    table = np.zeros(len(POINTS), names)
    for i, axis in enumerate("xyz"):
        table[axis] = POINTS[:, i]
    head = f"ply\nformat {form} 1.0\ncomment x\nelement vertex {len(table)}\n"
    head += "property uchar intensity\nproperty float x\nproperty float y\nproperty double z\n"
    head += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    text = "\n".join(" ".join(map(str, row)) for row in table.tolist()) + "\n"
    path.write_bytes(head.encode() + (text.encode() if form == "ascii" else table.tobytes()))


def write_pcd(path: Path, form: str) -> None:
    table = np.zeros(len(POINTS), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("t", "u4", 2)])
    for i, axis in enumerate("xyz"):
        table[axis] = POINTS[:, i]
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z t\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 2\n"
    head += f"WIDTH {len(table)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(table)}\n"
    rows = "\n".join(f"{x} {y} {z} 0 0" for x, y, z in POINTS.tolist())
    body = rows.encode() if form == "ascii" else table.tobytes()
    path.write_bytes(f"{head}DATA {form}\n".encode() + body)


def write_las(path: Path) -> None:
    laspy = pytest.importorskip("laspy", reason="laspy is not installed: driv3r[las]")
    las = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
    las.header.scales = [1e-4] * 3
    las.x, las.y, las.z = POINTS.T.astype(float)
    las.write(str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.ply", lambda path: write_ply(path, "binary_little_endian")),
        ("big.ply", lambda path: write_ply(path, "binary_big_endian")),
        ("ascii.ply", lambda path: write_ply(path, "ascii")),
        ("a.pcd", lambda path: write_pcd(path, "binary")),
        ("ascii.pcd", lambda path: write_pcd(path, "ascii")),
        ("a.las", write_las),
        ("a.laz", write_las),
        ("a.npy", lambda path: np.save(path, POINTS)),
        ("a.bin", lambda path: np.c_[POINTS, POINTS[:, 0]].tofile(path)),
    ],
)
def test_point_clouds_are_as_written(tmp_path: Path, name: str, write) -> None:
    write(tmp_path / name)
    tolerance = 1e-4 if name.startswith("a.la") else 0.0
    read = read_points(tmp_path / name, Recording())
    np.testing.assert_allclose(read, POINTS, atol=tolerance)


def test_columns_of_binary_sweeps_are_told(tmp_path: Path) -> None:
    told = Recording(lidar_columns=("t", "z", "y", "x"), lidar_dtype="float64")
    np.c_[POINTS[:, 0], POINTS[:, ::-1]].astype("<f8").tofile(tmp_path / "a.bin")
    np.testing.assert_array_equal(read_points(tmp_path / "a.bin", told), POINTS)
    with pytest.raises(DatasetError, match="lidar_columns"):
        read_points(tmp_path / "a.bin", Recording(lidar_columns=("x", "y", "z")))


@pytest.mark.parametrize("name", ["a.ply", "a.pcd", "a.npy", "a.las"])
def test_cut_sweeps_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    {
        ".ply": lambda: write_ply(path, "binary_little_endian"),
        ".pcd": lambda: write_pcd(path, "binary"),
        ".npy": lambda: np.save(path, POINTS),
        ".las": lambda: write_las(path),
    }[path.suffix]()
    data = path.read_bytes()
    for length in (len(data) // 2, 3):
        path.write_bytes(data[:length])
        with pytest.raises(DatasetError, match=name):
            read_points(path, Recording())


@pytest.mark.parametrize(("fov_deg", "seen_deg"), [(None, 110.0), (80.0, 80.0)])
def test_a_fisheye_is_looked_at_through_a_pinhole(tmp_path: Path, fov_deg, seen_deg) -> None:
    """A dot that OpenCV's fisheye draws where a 3D point falls lies where our pinhole sees it."""
    size_wh, distortion = (640, 480), [0.05, -0.01, 0.002, -0.0005]
    K = np.array([[250.0, 0, 319.5], [0, 250.0, 239.5], [0, 0, 1]])
    lens = {"lens": "opencv_fisheye", "distortion": distortion, "size_wh": list(size_wh)}
    lens |= {"fx": 250.0, "fy": 250.0, "cx": 319.5, "cy": 239.5, "rectified_fov_deg": fov_deg}
    log = tmp_path / "drive"
    (log / "images/front").mkdir(parents=True)
    content = {"pixel_centre": "integer", "cameras": [tiny.camera("front", tiny.FRONT, **lens)]}
    tiny.write_rig(log / "rig.yaml", content)
    points_cam = np.array([[0.0, 0, 5], [3.0, 1, 5], [-4.0, -2, 5], [1.0, 2.2, 5]])
    zero = np.zeros(3)
    uv, _ = cv2.fisheye.projectPoints(points_cam[:, None], zero, zero, K, np.array(distortion))
    for i, (u, v) in enumerate(uv[:, 0]):
        image = np.zeros((480, 640, 3), np.uint8)
        cv2.circle(image, (round(u * 256), round(v * 256)), 3 * 256, (255,) * 3, -1, shift=8)
        cv2.imwrite(str(log / f"images/front/{1000_000 + i * 100_000}.png"), image)
    scene = open_dataset("folder", log).read("drive")
    work = prepare_rig(scene.rig, (360, 640))
    camera = work.rig.cameras[0]
    assert camera.distortion == ()
    assert 2 * np.degrees(np.arctan(320 / camera.K[0, 0])) == pytest.approx(seen_deg)
    expected, _, inside = project(camera, points_cam)
    assert inside.all()
    for frame, (u, v) in zip(scene.frames, expected, strict=True):
        (image,) = prepare_images(frame, work)
        rows, columns = np.nonzero(image[..., 0] > 128)
        assert columns.mean() + 0.5 == pytest.approx(u, abs=0.6)
        assert rows.mean() + 0.5 == pytest.approx(v, abs=0.6)


def test_a_video_a_camera(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: driv3r[video]")
    log = tmp_path / "drive"
    (log / "images").mkdir(parents=True)
    content = {"pixel_centre": "integer", "cameras": [tiny.camera("front", tiny.FRONT)]}
    tiny.write_rig(log / "rig.yaml", content)
    greys = [40, 90, 140, 190, 240]
    with av.open(str(log / "images/front.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.width, stream.height, stream.pix_fmt = tiny.SIZE_HW[1], tiny.SIZE_HW[0], "bgr0"
        for grey in greys:
            image = np.full((*tiny.SIZE_HW, 3), grey, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    video = log / "images/front.mkv"
    np.testing.assert_allclose(list_times_us(video), np.arange(5) * 50_000, atol=1000)
    frames = VideoFrames()
    for i in (0, 1, 3, 3, 2, 4, 0):
        assert (frames.read(video, i) == greys[i]).all()
    with pytest.raises(DatasetError, match="ends or is damaged at frame 5"):
        frames.read(video, 9)
    scene = open_dataset("folder", log).read("drive")
    assert "taken to start at 0 us" in scene.repairs[0].reason
    assert [int(frame.views[0].image.mean()) for frame in scene.frames] == greys
    (log / "images/front.csv").write_text("time_us\n" + "\n".join(f"{i}00000" for i in range(1, 6)))
    assert open_dataset("folder", log).read("drive").time_us[0] == 100_000
    (log / "images/front.csv").write_text("time_us\n1\n")
    with pytest.raises(DatasetError, match="1 times, but front.mkv 5 frames"):
        open_dataset("folder", log).read("drive")
    video.write_bytes(video.read_bytes()[:300])
    with pytest.raises(DatasetError, match=r"front\.mkv"):
        open_dataset("folder", log).read("drive")


def test_the_page_has_a_rig_file_without_a_finding(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/own-rig.md").read_text()
    block, unknown = re.findall(r"```yaml\n(.*?)```", page, re.S)
    every = block.replace("  # frame", "  frame").replace("  # group", "  group")
    every = every.replace("  # lidar", "  lidar")
    assert every != block
    for text in (block, every):
        (tmp_path / "rig.yaml").write_text(text)
        file = read_rig_file(tmp_path / "rig.yaml")
        assert check_rig(file) == []
        assert make_rig(file).cameras[0].distortion == (-0.3, 0.1, 0.0, 0.0)
    (tmp_path / "rig.yaml").write_text(unknown)
    file = read_rig_file(tmp_path / "rig.yaml")
    assert check_rig(file) == []
    assert file.cameras[0].unknown == ("intrinsics", "ego_T_cam")


def places_of(value, at=()):
    yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries if isinstance(value, dict | list) else ():
        yield from places_of(entry, (*at, key)) if isinstance(entry, dict | list) else [(*at, key)]


@pytest.mark.parametrize(
    "strange", [None, 0, -1, 1e300, float("nan"), "x", [], {}, pytest.param(10**400, id="huge")]
)
def test_no_value_of_a_rig_file_ends_in_another_error(tmp_path: Path, strange) -> None:
    """Wherever it stands: it is refused with a typed error, or is a rig."""
    whole = tiny.rig() | {"ground_z_m": 0.0, "recording": {"group_within_ms": 50.0}}
    lens = {"lens": "opencv_fisheye", "distortion": [0.1, 0.0, 0.0, 0.0]}
    whole["cameras"][0] |= lens | {"rectified_fov_deg": 60.0}
    refused = 0
    for at in [place for place in places_of(whole) if place]:
        content = copy.deepcopy(whole)
        *way, last = at
        functools.reduce(lambda entry, key: entry[key], way, content)[last] = strange
        try:
            file = read_rig_file(tiny.write_rig(tmp_path / "rig.yaml", content))
            check_rig(file)
            make_rig(file)
        except (ConfigError, DatasetError):
            refused += 1
    assert refused > 10


def test_numbers_that_yaml_reads_as_text_are_told(tmp_path: Path) -> None:
    assert yaml.safe_load("1e-5") == "1e-5"
    with pytest.raises(ConfigError, match="expected float, got '1e-5'"):
        rig_of(tmp_path, lens="opencv", distortion=["1e-5", 0, 0, 0])
