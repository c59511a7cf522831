"""Tracks, read back by pandas, pyarrow and the nuScenes devkit."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from made_drive import CAR, ORIGIN_WORLD, START_US, STEP_US, WALKER, make_moving
from scipy.spatial.transform import Rotation

from driv3r.errors import DatasetError
from driv3r.export.objects.kinds import guess_kind

MOVING = make_moving()


def check_table(table) -> None:
    """A pandas table against the objects: sorted by track and time, as they are made."""
    assert table.track_id.tolist() == MOVING.track_id.tolist()
    assert table.time_us.tolist() == MOVING.time_us.tolist()
    assert table.observed.tolist() == MOVING.observed.tolist()
    np.testing.assert_array_equal(table[["x_m", "y_m", "z_m"]], MOVING.world_T_object[:, :3, 3])
    turn = Rotation.from_quat(table[["qx", "qy", "qz", "qw"]].to_numpy()).as_matrix()
    np.testing.assert_allclose(turn, MOVING.world_T_object[:, :3, :3], atol=1e-12)
    yaw = Rotation.from_rotvec(table.yaw_rad.to_numpy()[:, None] * [0, 0, 1]).as_matrix()
    np.testing.assert_allclose(yaw, MOVING.world_T_object[:, :3, :3], atol=1e-12)
    size = table[["length_m", "width_m", "height_m"]].to_numpy()
    np.testing.assert_array_equal(size, MOVING.size_m[MOVING.track_id])
    velocity = table[["vx_mps", "vy_mps", "vz_mps"]].to_numpy()
    np.testing.assert_array_equal(velocity, MOVING.velocity_world_mps)
    np.testing.assert_array_equal(table.quality, MOVING.quality[MOVING.track_id])


def test_csv_keeps_every_digit(export):
    pandas = pytest.importorskip("pandas")
    check_table(pandas.read_csv(export("csv") / "tracks.csv", float_precision="round_trip"))


def test_parquet_is_typed(export):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(export("parquet") / "tracks.parquet")
    assert str(table.schema.field("time_us").type) == "int64"
    assert str(table.schema.field("observed").type) == "bool"
    check_table(table.to_pandas())


@pytest.mark.parametrize(
    ("size_m", "kind"),
    [
        ((4.2, 1.8, 1.5), "car"),
        ((0.6, 0.7, 1.7), "pedestrian"),
        ((12.0, 3.0, 3.4), "bus"),
        ((7.5, 2.5, 3.0), "truck"),
        ((1.8, 0.6, 1.2), "bicycle"),
    ],
)
def test_a_size_that_is_typical_is_known(size_m, kind):
    assert guess_kind(np.array(size_m)) == kind


def load_results(path: Path, kind: str):
    loaders = pytest.importorskip("nuscenes.eval.common.loaders")
    module = importlib.import_module(f"nuscenes.eval.{kind}.data_classes")
    name, box = {
        "detection": ("detection_cvpr_2019", "DetectionBox"),
        "tracking": ("tracking_nips_2019", "TrackingBox"),
    }[kind]
    importlib.import_module("nuscenes.eval.common.config").config_factory(name)  # sets its classes
    return loaders.load_prediction(str(path), 500, getattr(module, box))


@pytest.mark.parametrize("kind", ["detection", "tracking"])
def test_the_devkit_loads_the_results(export, kind):
    path = export(f"nuscenes-{kind}") / f"{kind}.json"
    boxes, meta = load_results(path, kind)
    assert meta["use_camera"] is True
    assert meta["use_lidar"] is False
    assert "length, width and height" in meta["classes"]
    assert boxes.sample_tokens == [f"drive-1/{frame:06d}" for frame in (0, 2, 4)]
    assert [len(boxes[token]) for token in boxes.sample_tokens] == [1, 2, 0]
    state = np.flatnonzero((MOVING.frame == 2) & (MOVING.track_id == CAR))[0]
    box = next(b for b in boxes["drive-1/000002"] if getattr(b, f"{kind}_name") == "car")
    place = MOVING.world_T_object[state]
    np.testing.assert_allclose(box.translation, place[:3, 3] + ORIGIN_WORLD, atol=1e-9)
    length, width, height = MOVING.size_m[CAR]
    assert box.size == (width, length, height)
    w, x, y, z = box.rotation
    np.testing.assert_allclose(
        Rotation.from_quat([x, y, z, w]).as_matrix(), place[:3, :3], atol=1e-12
    )
    np.testing.assert_allclose(box.velocity, MOVING.velocity_world_mps[state, :2])
    assert getattr(box, f"{kind}_score") == 0.75
    walker = next(b for b in boxes["drive-1/000002"] if b is not box)
    assert getattr(walker, f"{kind}_name") == "pedestrian"
    if kind == "tracking":
        assert {box.tracking_id, walker.tracking_id} == {str(CAR), str(WALKER)}


@pytest.fixture
def tables(tmp_path, monkeypatch) -> Path:
    """A nuScenes folder whose scene has this drive's name and times."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "datasets"), *sys.path])
    tiny = importlib.import_module("tiny_nuscenes")
    root = tiny.write(tmp_path / "nuscenes")
    [folder] = root.glob("v1.0-*")
    scenes = json.loads((folder / "scene.json").read_text())
    scenes[0]["name"] = "drive-1"
    samples = json.loads((folder / "sample.json").read_text())
    own = [each for each in samples if each["scene_token"] == scenes[0]["token"]]
    own.sort(key=lambda each: each["timestamp"])
    for number, sample in enumerate(own):
        sample["timestamp"] = START_US + 2 * STEP_US * number + 1000
    (folder / "scene.json").write_text(json.dumps(scenes))
    (folder / "sample.json").write_text(json.dumps(samples))
    return root


def test_samples_are_named_by_the_datasets_tables(export, tables):
    results = json.loads(
        (export("nuscenes-detection", root=tables, frames=(0, 3)) / "detection.json").read_text()
    )["results"]
    [folder] = tables.glob("v1.0-*")
    samples = json.loads((folder / "sample.json").read_text())
    scene = next(
        each
        for each in json.loads((folder / "scene.json").read_text())
        if each["name"] == "drive-1"
    )
    own = [each for each in samples if each["scene_token"] == scene["token"]]
    first = {each["timestamp"]: each["token"] for each in own}
    assert list(results) == [first[START_US + 1000], first[START_US + 2 * STEP_US + 1000]]


def test_tables_without_the_log_are_told(export, tmp_path):
    with pytest.raises(DatasetError, match="drive-1"):
        export("nuscenes-tracking", root=tmp_path)
