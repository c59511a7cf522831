"""What is there of a dataset: presence, repairs by kind, usable scenes; real recordings agree."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny

from driv3r.datasets import open_dataset
from driv3r.datasets.check import check_dataset, check_scene
from driv3r.datasets.check.presence import kind_of
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Frame, Repair, Rig, Scene
from tests.datasets import tiny_folder

SCENE = "scene-0003"


def share_of(checked, name: str) -> float:
    return next(camera.share for camera in checked.cameras if camera.name == name)


@pytest.mark.parametrize("quick", [False, True])
def test_a_whole_scene(pristine: Path, quick: bool) -> None:
    checked = check_scene(open_dataset("nuscenes", pristine), SCENE, quick)
    assert checked.usable
    assert (checked.frames, checked.keyframes, checked.seconds) == (3, 3, 1.0)
    assert [camera.share for camera in checked.cameras] == [1.0, 1.0]
    assert [camera.tried for camera in checked.cameras] == [2 if quick else 3] * 2
    assert checked.lidar is not None
    assert checked.lidar.share == 1.0
    assert checked.fastest_mps == pytest.approx(8.14, abs=0.01)  # 8 m/s ahead, up to 1.5 aside
    assert checked.repairs == ()


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_missing_and_broken_is_counted_by_kind(root: Path, quick: bool) -> None:
    front = sorted((root / "samples/CAM_FRONT").glob(f"{SCENE}*"))
    front[1].unlink()
    back = sorted((root / "samples/CAM_BACK").glob(f"{SCENE}*"))
    back[0].write_bytes(back[0].read_bytes()[:-50])
    for path in (root / "samples/LIDAR_TOP").glob(f"{SCENE}*"):
        path.unlink()
    checked = check_scene(open_dataset("nuscenes", root), SCENE, quick)
    assert checked.usable
    assert share_of(checked, "CAM_FRONT") == pytest.approx(2 / 3)
    assert checked.lidar is not None
    assert checked.lidar.present == 0
    broken = next(camera for camera in checked.cameras if camera.name == "CAM_BACK")
    assert broken.tried - broken.opened == 1
    counts = {each.kind: each.count for each in checked.repairs}
    missing = sum(n for kind, n in counts.items() if "the file is missing" in kind)
    assert missing == 4
    assert sum(n for kind, n in counts.items() if "cut short" in kind) == 1
    assert str(back[0]) in next(r.example for r in checked.repairs if "cut short" in r.kind)


def test_scenes_without_images_or_tables_are_not_usable(root: Path) -> None:
    for path in root.glob(f"samples/CAM_*/{SCENE}*"):
        path.unlink()
    checked = check_dataset(open_dataset("nuscenes", root), ("val", "train", "all"))
    assert [split.scene_ids for split in checked.splits] == [tiny.SCENES, (), tiny.SCENES]
    assert "no scene of split 'train'" in checked.splits[1].problem
    assert [scene.usable for scene in checked.scenes] == [False, True]
    assert (checked.usable, checked.status) == (1, 1)
    (root / "v1.0-trainval/ego_pose.json").write_text("[]")
    checked = check_dataset(open_dataset("nuscenes", root), ("val",))
    assert checked.status == 2
    assert all("DatasetError" in (scene.error or "") for scene in checked.scenes)
    told = json.loads(json.dumps(checked.to_json()))
    assert told["status"] == 2
    assert [scene["usable"] for scene in told["scenes"]] == [False, False]
    assert told["scenes"][0]["fastest_mps"] is None


def test_some_scenes_only_and_the_bar_ends(pristine: Path) -> None:
    heard: list[tuple[float, int]] = []
    reader = open_dataset("nuscenes", pristine)
    checked = check_dataset(
        reader, ("val",), limit=1, report=lambda done, total: heard.append((done, total))
    )
    assert [scene.scene_id for scene in checked.scenes] == [tiny.SCENES[0]]
    assert heard == sorted(heard)
    assert heard[-1] == (1, 1)
    checked = check_dataset(reader, ("val",), [tiny.SCENES[1], "gone"])
    assert [scene.usable for scene in checked.scenes] == [True, False]
    assert "no scene 'gone'" in (checked.scenes[1].error or "")


def test_what_no_table_names_is_absent_not_broken(root: Path) -> None:
    path = root / "v1.0-trainval/sample_data.json"
    rows = json.loads(path.read_text())
    front = [row for row in rows if f"samples/CAM_FRONT/{SCENE}" in row["filename"]]
    path.write_text(json.dumps([row for row in rows if row is not front[1]]))
    checked = check_scene(open_dataset("nuscenes", root), SCENE)
    camera = next(each for each in checked.cameras if each.name == "CAM_FRONT")
    assert (camera.present, camera.tried, camera.opened) == (2, 2, 2)
    assert sum(each.count for each in checked.repairs) >= 1


def test_like_repairs_are_one_kind() -> None:
    reasons = [
        "view left out: the file is missing: /data/a b/1.jpg".replace(" b", ""),
        "view left out: the file is missing: /data/x/2.png",
    ]
    assert len({kind_of(Repair("front", reason)) for reason in reasons}) == 1
    assert kind_of(Repair("lidar", "3 of 9 points are not finite: a/b")) == (
        "... of ... points are not finite: ..."
    )


class ForeignReader:
    """Another package's: no card, no split all, frames in a plain list."""

    def __init__(self, scene: Scene | Exception) -> None:
        self.scene = scene

    def scenes(self, split: str) -> tuple[str, ...]:
        if split != "mine":
            raise ConfigError("known: mine")
        return ("one",)

    def read(self, scene_id: str) -> Scene:
        if isinstance(self.scene, Exception):
            raise self.scene
        return self.scene


def test_readers_of_other_packages_are_told_of_too(pristine: Path) -> None:
    scene = open_dataset("nuscenes", pristine).read(SCENE)
    frames: list[Frame] = [*scene.frames]
    checked = check_dataset(ForeignReader(replace(scene, frames=frames)), ("mine", "all"))
    assert [split.problem for split in checked.splits] == ["", "known: mine"]
    assert checked.scenes[0].usable
    assert share_of(checked.scenes[0], "CAM_FRONT") == 1.0
    broken = check_dataset(ForeignReader(KeyError("x")), ("mine",))
    assert broken.status == 2
    assert "a fault of the reader or of driv3r" in (broken.scenes[0].error or "")
    refused = check_dataset(ForeignReader(DatasetError("no tables")), ("mine",))
    assert refused.scenes[0].error == "DatasetError: no tables"


def test_wrong_poses_and_rigs_of_a_reader_are_found(pristine: Path) -> None:
    scene = open_dataset("nuscenes", pristine).read(SCENE)
    fast = [
        replace(frame, world_T_ego=frame.world_T_ego * np.where(np.eye(4) == 1, 1.1, 1.0))
        for frame in scene.frames
    ]
    fallen = replace(scene.rig.cameras[0], ego_T_cam=np.eye(4))
    rig = Rig((fallen, scene.rig.cameras[1]), scene.rig.ego_T_lidar)
    checked = check_scene(ForeignReader(replace(scene, frames=fast, rig=rig)), "one")
    given = [finding.given for finding in checked.findings]
    assert any("ego poses are not rigid" in text for text in given)
    assert any(f.sensor == fallen.name and "down" in f.given for f in checked.findings)


def test_without_poses_no_sensors_are_compared(tmp_path: Path) -> None:
    log = tiny_folder.write(tmp_path / "drive")
    (log / "poses.csv").unlink()
    checked = check_scene(open_dataset("folder", log), "drive")
    assert checked.usable
    assert np.isnan(checked.fastest_mps)
    assert (checked.road, checked.edges) == (None, None)


def test_the_real_recordings_agree(recordings: Path) -> None:
    """Roads within 15 cm of the ego origin, images under LiDAR, points in boxes."""
    reader = open_dataset("pandaset", recordings / "pandaset")
    checked = check_scene(reader, "002")
    assert checked.usable
    assert checked.findings == ()
    assert checked.road is not None
    assert abs(checked.road.z_m) < 0.1
    assert checked.edges is not None
    assert checked.edges.is_told
    assert checked.edges.agrees
    assert checked.content is not None
    assert checked.content.filled > 0.8 * checked.content.near
    assert checked.content.points > 1.5 * checked.content.points_turned
    sample = NuScenesReader(recordings / "nuscenes_one_sample")
    checked = check_scene(sample, "scene-0061", quick=True)
    assert checked.road is not None
    assert abs(checked.road.z_m) < 0.05
    assert checked.edges is not None
    assert checked.edges.is_told
    assert checked.edges.agrees
