"""A generated world in other layouts: read back, it is the world that nuScenes' reader gives."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from driv3r.cli import main
from driv3r.datasets import open_dataset
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import apply
from driv3r.simulator.export import conversion
from driv3r.simulator.export.conversion import write_world_as
from driv3r.simulator.export.layouts import LAYOUTS, argoverse2
from driv3r.simulator.export.marker import BEGUN, MARKER, check_world, discard_world
from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world
from driv3r.types import Sweep

SMALL = WorldConfig(seeds=(3,), keyframes=3, size_hw=(32, 56), camera_hz=2, lidar_hz=2)
LAYOUT = "argoverse2"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rendered") / "nuscenes"
    write_world(root, SMALL, workers=1)
    return root


@pytest.fixture
def _no_rendering(rendered, monkeypatch):
    """The world of SMALL is taken from where it lies."""

    def copy(root, recipe, workers, report):
        assert recipe == SMALL
        shutil.copytree(rendered, root, dirs_exist_ok=True)
        report(3, 3)

    monkeypatch.setattr(conversion, "write_world", copy)


def points_world_of(sweep: Sweep | None) -> np.ndarray:
    assert sweep is not None
    return apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))


def test_argoverse2_is_read_back_as_nuscenes(rendered, tmp_path):
    source = NuScenesReader(rendered)
    told: list[tuple[int, int]] = []
    root = tmp_path / "argoverse2"
    root.mkdir()
    argoverse2.write_logs(source, "val", root, lambda *counts: told.append(counts))
    assert told == [(1, 3), (2, 3), (3, 3)]
    reader = open_dataset(LAYOUT, root)
    assert reader.scenes("val") == source.scenes("val")
    (name,) = source.scenes("val")
    ours, theirs = reader.read(name), source.read(name)
    assert ours.generated
    assert ours.repairs == theirs.repairs == ()
    assert ours.time_us.tolist() == theirs.time_us.tolist()
    assert ours.origin_world == theirs.origin_world
    lift = np.eye(4)
    lift[2, 3] = theirs.rig.ground_z_m - ours.rig.ground_z_m  # from the road to the axle
    assert lift[2, 3] == pytest.approx(0.33)
    for camera, other in zip(ours.rig.cameras, theirs.rig.cameras, strict=True):
        assert camera.name == argoverse2.CAMERAS[other.name]
        assert camera.size_hw == other.size_hw
        np.testing.assert_allclose(camera.K, other.K, atol=1e-9)
        np.testing.assert_allclose(lift @ camera.ego_T_cam, other.ego_T_cam, atol=1e-9)
    for frame, other in zip(ours.frames, theirs.frames, strict=True):
        assert frame.repairs == other.repairs == ()
        assert frame.is_keyframe
        np.testing.assert_allclose(frame.world_T_ego, other.world_T_ego @ lift, atol=1e-8)
        for view, its in zip(frame.views, other.views, strict=True):
            assert view is not None
            assert its is not None
            np.testing.assert_array_equal(view.image, its.image)
            assert (root / view.path).read_bytes() == (rendered / its.path).read_bytes()
            assert view.time_us == its.time_us
            np.testing.assert_allclose(view.world_T_cam, its.world_T_cam, atol=1e-8)
        points = points_world_of(other.sweep)
        assert len(points) > 1000
        np.testing.assert_allclose(points_world_of(frame.sweep), points, atol=2e-5)


def test_boxes_are_read_back(rendered, tmp_path):
    (tmp_path / "root").mkdir()
    source = NuScenesReader(rendered)
    LAYOUTS[LAYOUT](source, "val", tmp_path / "root", lambda *_: None)
    (name,) = source.scenes("val")
    ours, theirs = open_dataset(LAYOUT, tmp_path / "root").read(name), source.read(name)
    assert ours.boxes is not None
    assert theirs.boxes is not None
    for i in range(3):
        boxes, other = ours.boxes(i), theirs.boxes(i)
        assert boxes is not None
        assert other is not None
        assert len(boxes.instance) > 2
        assert boxes.instance == other.instance
        assert boxes.label == tuple(argoverse2.CATEGORIES[label] for label in other.label)
        np.testing.assert_array_equal(boxes.size_m, other.size_m)
        np.testing.assert_allclose(boxes.world_T_box, other.world_T_box, atol=1e-7)
        np.testing.assert_allclose(boxes.velocity_world_mps, other.velocity_world_mps, atol=1e-6)


@pytest.mark.usefixtures("_no_rendering")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_world_is_made_once_and_says_what_it_is(tmp_path, layout):
    root = tmp_path / "made" / layout
    stages: list[str] = []
    write_world_as(layout, root, SMALL, report=lambda stage, *_: stages.append(stage))
    assert stages == ["render", "write", "write", "write"]
    assert [path.name for path in root.parent.iterdir()] == [layout]
    note = json.loads((root / MARKER).read_text())
    assert (note["generated"], note["layout"], note["recipe"]["seeds"]) == (True, layout, [3])
    assert sorted([*note["entries"], MARKER]) == sorted(path.name for path in root.iterdir())
    reader = open_dataset(layout, root)
    (name,) = reader.scenes("all")
    scene = reader.read(name)
    assert scene.generated
    assert len(scene.frames) == 3
    assert check_world(root, SMALL, layout)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_world_as(layout, root, SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(ConfigError, match="keyframes is 2, was 3"):
        check_world(root, dataclasses.replace(SMALL, keyframes=2), layout)
    with pytest.raises(ConfigError, match=f"layout is nuscenes, was {layout}.*another --root"):
        check_world(root, SMALL)


@pytest.mark.usefixtures("_no_rendering")
def test_another_world_is_replaced_when_asked_and_nothing_else(tmp_path):
    root = tmp_path / "argoverse2"
    write_world_as(LAYOUT, root, SMALL)
    (root / "notes.txt").write_text("mine")
    discard_world(root, SMALL, LAYOUT)
    assert (root / "val").exists()
    discard_world(root, dataclasses.replace(SMALL, keyframes=2), LAYOUT)
    assert [path.name for path in root.iterdir()] == ["notes.txt"]
    recorded = tmp_path / "recorded"
    (recorded / "val").mkdir(parents=True)
    discard_world(recorded, SMALL, LAYOUT)
    with pytest.raises(ConfigError, match="val, but no driv3r-world.json.*another --root"):
        write_world_as(LAYOUT, recorded, SMALL)
    assert [path.name for path in recorded.iterdir()] == ["val"]


@pytest.mark.usefixtures("_no_rendering")
def test_a_call_that_was_cut_is_done_anew(tmp_path, monkeypatch):
    root = tmp_path / "argoverse2"

    def cut(*_):
        raise KeyboardInterrupt

    for target in ("driv3r.simulator.export.conversion._move", "pathlib.Path.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(target, cut)
            with pytest.raises(KeyboardInterrupt):
                write_world_as(LAYOUT, root, SMALL)
        assert not (root / MARKER).exists()
        assert not check_world(root, SMALL, LAYOUT)
    assert (root / BEGUN).exists()
    write_world_as(LAYOUT, root, SMALL)
    assert check_world(root, SMALL, LAYOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["argoverse2"]


def test_what_has_no_name_in_a_layout_is_refused(rendered, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match="split 'all' is none of train, val, test"):
        argoverse2.write_logs(NuScenesReader(rendered), "all", tmp_path, lambda *_: None)
    monkeypatch.setattr(argoverse2, "CAMERAS", {"CAM_FRONT": "ring_front_center"})
    with pytest.raises(ConfigError, match="has CAM_FRONT_RIGHT, .*expected a LiDAR and pinholes"):
        argoverse2.write_logs(NuScenesReader(rendered), "val", tmp_path, lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["driv3r", "world", "make", "--layout", "nothing"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "no layout 'nothing'; known: nuscenes, argoverse2" in capsys.readouterr().err
