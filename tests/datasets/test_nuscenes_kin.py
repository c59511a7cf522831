"""TruckScenes, Lyft and T4: nuScenes' schema with other folders, sensors and files."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny
from pyquaternion import Quaternion

from driv3r.datasets import open_dataset
from driv3r.datasets.folder.lidar import read_points
from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.nuscenes.splits import truckscenes_splits
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply

FRONT, BACK = tiny.RIG["CAM_FRONT"], tiny.RIG["CAM_BACK"]
TOP = tiny.RIG["LIDAR_TOP"]
SIDE: tiny.Sensor = ((0.9, 0.0, 0.1, -0.3), (0.5, 1.0, 1.2), 20_000, 100_000)


def rewrite(root: Path, table: str, change) -> None:
    path = root / "v1.0-trainval" / f"{table}.json"
    rows = json.loads(path.read_text())
    for row in rows:
        change(row)
    path.write_text(json.dumps(rows))


def write_pcd(path: Path, points: np.ndarray, compress: bool) -> None:
    """A PCD 0.7 as PCL writes it; LZF of literals and of copies of the byte before."""
    n = len(points)
    head = f"""# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity timestamp
SIZE 4 4 4 4 8
TYPE F F F F U
COUNT 1 1 1 1 1
WIDTH {n}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {n}
DATA {"binary_compressed" if compress else "binary"}
"""
    dtype = [("xyz", "<f4", 3), ("intensity", "<f4"), ("timestamp", "<u8")]
    table = np.zeros(n, dtype)
    table["xyz"] = points
    if not compress:
        path.write_bytes(head.encode() + table.tobytes())
        return
    columns = [*table["xyz"].T, table["intensity"], table["timestamp"]]
    plain = b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
    packed, at = bytearray(), 0
    while at < len(plain):
        run = 1
        while at > 0 and at + run <= len(plain) and run <= 264:
            if plain[at : at + run] != plain[at - 1 : at] * run:
                break
            run += 1
        run -= 1
        if at > 0 and run >= 9:
            packed += bytes([7 << 5, run - 9, 0])  # a copy from 1 byte before, run bytes long
            at += run
        else:
            chunk = plain[at : at + 1]
            packed += bytes([len(chunk) - 1]) + chunk
            at += len(chunk)
    sizes = np.array([len(packed), len(plain)], "<u4").tobytes()
    path.write_bytes(head.encode() + sizes + bytes(packed))


@pytest.mark.parametrize("compress", [False, True])
def test_a_pcd_is_read_as_it_was_written(tmp_path: Path, compress) -> None:
    points = np.random.default_rng(0).normal(0, 20, (300, 3)).astype(np.float32)
    write_pcd(tmp_path / "a.pcd", points, compress)
    np.testing.assert_array_equal(read_points(tmp_path / "a.pcd", Recording()), points)
    data = (tmp_path / "a.pcd").read_bytes()
    for harmed in (data[:-40], data[: len(data) // 2]):
        (tmp_path / "b.pcd").write_bytes(harmed)
        with pytest.raises(DatasetError, match=r"b\.pcd"):
            read_points(tmp_path / "b.pcd", Recording())


def test_truckscenes_splits(tmp_path: Path) -> None:
    """523, 75, 149, 8 and 2 scenes are the counts that its devkit states."""
    splits = truckscenes_splits()
    assert {split: len(set(names)) for split, names in splits.items()} == {
        "train": 523, "val": 75, "test": 149, "mini_train": 8, "mini_val": 2}  # fmt: skip
    whole = [*splits["train"], *splits["val"], *splits["test"]]
    assert len(set(whole)) == 747
    assert set(splits["mini_train"]) < set(splits["train"])
    assert set(splits["mini_val"]) < set(splits["val"])
    for name in whole:  # drives are random UUIDs, version 4
        assert re.fullmatch(r"scene-[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}-\d+", name)
    tiny.write(tmp_path, {"CAM_FRONT": FRONT, "LIDAR_TOP": TOP})
    named = dict(zip(tiny.SCENES, (splits["val"][7], splits["train"][3]), strict=True))
    rewrite(tmp_path, "scene", lambda row: row.update(name=named[row["name"]]))
    reader = open_dataset("truckscenes", tmp_path)
    assert reader.scenes("all") == tuple(named.values())
    assert reader.scenes("val") == (splits["val"][7],)
    assert reader.scenes("train") == (splits["train"][3],)
    with pytest.raises(DatasetError, match=r"holds no scene of split 'test'; it holds 2: scene-"):
        reader.scenes("test")
    with pytest.raises(ConfigError, match="unknown split 'trainval'; known are all, train, val"):
        reader.scenes("trainval")


def test_truckscenes_has_all_its_lidars_in_one_sweep(tmp_path: Path) -> None:
    rig = {"CAMERA_RIGHT_BACK": BACK, "CAMERA_LEFT_FRONT": FRONT}
    rig |= {"LIDAR_LEFT": TOP, "LIDAR_TOP_LEFT": SIDE}
    tiny.write(tmp_path, {name.replace("CAMERA", "CAM"): at for name, at in rig.items()})
    rewrite(tmp_path, "sensor", lambda row: row.update(
        channel=row["channel"].replace("CAM", "CAMERA")))  # fmt: skip
    for path in list(tmp_path.glob("s*/LIDAR*/*.bin")):
        points = np.fromfile(path, "<f4").reshape(-1, 5)[:, :3]
        write_pcd(path.with_name(path.name.replace(".pcd.bin", ".pcd")), points, False)
        path.unlink()
    rewrite(tmp_path, "sample_data", lambda row: row.update(
        filename=row["filename"].replace(".pcd.bin", ".pcd")))  # fmt: skip
    reader = open_dataset("truckscenes", tmp_path)
    assert reader.scenes("all") == tiny.SCENES
    scene = reader.read(tiny.SCENES[0])
    assert [camera.name for camera in scene.rig.cameras] == [
        "CAMERA_LEFT_FRONT", "CAMERA_RIGHT_BACK"]  # fmt: skip
    side = scene.frames[1].sweep
    assert side is not None
    assert len(side.points_lidar) == 200
    assert side.own_count == 100
    # The second LiDAR's points lie where its own pose, of its own time, puts them.
    rows = json.loads((tmp_path / "v1.0-trainval/sample_data.json").read_text())
    wanted = side.time_us + 20_000
    (row,) = [r for r in rows if "LIDAR_TOP_LEFT" in r["filename"] and r["timestamp"] == wanted]
    own = read_points(tmp_path / row["filename"], Recording()).astype(float)
    start_us = tiny.START_US
    told = tiny.ego_pose("", wanted, start_us)
    world_T_ego, ego_T_lidar = np.eye(4), np.eye(4)
    world_T_ego[:3, :3] = Quaternion(told["rotation"]).rotation_matrix
    world_T_ego[:3, 3] = told["translation"]
    ego_T_lidar[:3, :3] = Quaternion(SIDE[0]).normalised.rotation_matrix
    ego_T_lidar[:3, 3] = SIDE[1]
    expected = apply(world_T_ego @ ego_T_lidar, own)
    given = apply(side.world_T_lidar, side.points_lidar[100:].astype(float))
    np.testing.assert_allclose(given, expected, atol=2e-5)


@pytest.mark.parametrize("part", ["", "train_"])
def test_lyft_has_other_folders_and_times_with_fractions(tmp_path: Path, part) -> None:
    tiny.write(tmp_path, {"CAM_FRONT_ZOOMED": BACK, "CAM_FRONT": FRONT, "LIDAR_TOP": TOP})
    scene = open_dataset("nuscenes", tmp_path).read(tiny.SCENES[0])
    before = list(scene.frames)

    def rename(row):
        kind = "images" if "CAM" in row["filename"] else "lidar"
        name = Path(row["filename"]).name.replace("__", "_")
        target = tmp_path / f"{part}{kind}" / name
        target.parent.mkdir(exist_ok=True)
        shutil.move(tmp_path / row["filename"], target)
        row.update(filename=f"{kind}/{name}", timestamp=row["timestamp"] + 0.25)
        if kind == "lidar":
            row.update(width=None, height=None)

    rewrite(tmp_path, "sample_data", rename)
    rewrite(tmp_path, "sample", lambda row: row.update(timestamp=row["timestamp"] + 0.25))
    shutil.move(tmp_path / "v1.0-trainval", tmp_path / f"{part}data")
    reader = open_dataset("lyft", tmp_path)
    assert reader.scenes(f"{part}data") == tiny.SCENES
    scene = reader.read(tiny.SCENES[0])
    assert [camera.name for camera in scene.rig.cameras] == ["CAM_FRONT", "CAM_FRONT_ZOOMED"]
    for frame, same in zip(scene.frames, before, strict=True):
        assert frame.time_us == same.time_us
        assert frame.repairs == ()
        assert frame.sweep is not None
        assert same.sweep is not None
        np.testing.assert_array_equal(frame.sweep.points_lidar, same.sweep.points_lidar)
        for view, other in zip(frame.views, same.views, strict=True):
            np.testing.assert_array_equal(view.image, other.image)


def test_t4_datasets_are_scenes_by_their_folders(tmp_path: Path) -> None:
    made = tiny.write(tmp_path / "made", {"CAM_FRONT": FRONT, "LIDAR_CONCAT": TOP})
    before = open_dataset("nuscenes", made).read(tiny.SCENES[0])
    lens = [-0.1, 0.01, 0.0, 0.0, 0.0]
    rewrite(made, "calibrated_sensor", lambda row: row.update(
        camera_distortion=lens if row["camera_intrinsic"] else []))  # fmt: skip
    path = made / "v1.0-trainval" / "scene.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    rewrite(made, "sample_data", lambda row: row.update(filename="data/" + row["filename"]))
    t4 = tmp_path / "t4"
    for place in (t4 / "drive-a" / "0", t4 / "drive-a" / "2", t4 / "drive-b"):
        shutil.copytree(made / "v1.0-trainval", place / "annotation")
        for kind in ("samples", "sweeps"):
            shutil.copytree(made / kind, place / "data" / kind)
    reader = open_dataset("t4", t4)
    assert reader.scenes("all") == ("drive-a", "drive-b")
    assert reader.scenes("drive-b") == ("drive-b",)
    for name, top in (("drive-a", "drive-a/2"), ("drive-b", "drive-b")):
        scene = reader.read(name)
        assert scene.rig.cameras[0].distortion == (-0.1, 0.01, 0.0, 0.0, 0.0)
        np.testing.assert_array_equal(scene.time_us, before.time_us)
        view = scene.frames[0].views[0]
        assert view is not None
        assert view.path.startswith(f"{top}/data/samples/CAM_FRONT/")
    alone = open_dataset("t4", t4 / "drive-b")
    assert alone.scenes("all") == ("drive-b",)
    assert len(alone.read("drive-b").frames) == len(before.frames)


@pytest.mark.parametrize("name", ["truckscenes", "lyft", "t4"])
def test_another_root_is_refused_and_what_is_expected_told(tmp_path: Path, name) -> None:
    with pytest.raises(DatasetError, match="expected .*(samples|images|annotation)"):
        open_dataset(name, tmp_path)
