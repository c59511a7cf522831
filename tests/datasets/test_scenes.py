"""What every scene promises: possible numbers, a near origin, files by name, its input's hash."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny
from nuscenes.nuscenes import NuScenes
from tiny_nuscenes import read

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import prepare_rig
from driv3r.datasets.reader import FrameSources
from driv3r.datasets.scenes import make_scene
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.geometry.transforms import apply, from_rotvec
from driv3r.types import Rig, Scene

UTM = np.array([448_123.25, 5_411_456.5, 30.0])
UTM_ORIGIN = (450_000.0, 5_410_000.0, 0.0)


def move_all(root: Path, offset: np.ndarray) -> None:
    def move(rows: list) -> None:
        for row in rows:
            row["translation"] = (np.array(row["translation"]) + offset).tolist()

    tiny.edit(root, "ego_pose", move)


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_log_far_away_lies_near_its_own_origin(root: Path, pristine: Path, sweeps: bool) -> None:
    near = read(pristine, sweeps=sweeps)
    assert near.origin_world == (0.0, 0.0, 0.0)
    start = near.frames[0].world_T_ego[:3, 3]
    np.testing.assert_allclose(start, [400, 1000, 0], atol=0.2)  # as the tables give it
    move_all(root, UTM - [400, 1000, 0])
    far = read(root, sweeps=sweeps)
    assert far.origin_world == UTM_ORIGIN
    shift = np.eye(4)
    shift[:3, 3] = UTM - [400, 1000, 0] - UTM_ORIGIN
    for frame, expected in zip(far.frames, near.frames, strict=True):
        np.testing.assert_allclose(frame.world_T_ego, shift @ expected.world_T_ego, atol=1e-8)
        for view, other in zip(frame.views, expected.views, strict=True):
            assert view is not None
            assert other is not None
            np.testing.assert_allclose(view.world_T_cam, shift @ other.world_T_cam, atol=1e-8)
        assert frame.sweep is not None
        assert expected.sweep is not None
        world_T_lidar = shift @ expected.sweep.world_T_lidar
        np.testing.assert_allclose(frame.sweep.world_T_lidar, world_T_lidar, atol=1e-8)


def test_heights_have_an_origin_too(root: Path) -> None:
    move_all(root, np.array([-12_000, 5_000, 26_000]))
    scene = read(root)
    assert scene.origin_world == (-10_000.0, 10_000.0, 30_000.0)
    np.testing.assert_allclose(scene.frames[0].world_T_ego[:3, 3], [-1600, -4000, -4000])


def drive(step_m: list[float], step_us: list[int], start_m: float = 1.0) -> Scene:
    """A log of an ego car without sensors, along x."""
    places_m, times_us = np.cumsum([start_m, *step_m]), np.cumsum([5, *step_us]).tolist()
    records = [
        FrameSources(us, from_rotvec(np.zeros(3), np.array([m, 0, 0])), (), None, True)
        for m, us in zip(places_m, times_us, strict=True)
    ]
    return make_scene(Path("/none"), "log", Rig(()), records, lambda path: np.zeros((0, 3)), ())


def test_no_car_is_faster_than_100_mps() -> None:
    assert drive([49.9, -49.9], [500_000, 500_000]).repairs == ()
    with pytest.raises(DatasetError) as caught:
        drive([1, 52], [500_000, 500_000])
    for part in ("frames 1 and 2 of scene log", "104 m/s", "wrong unit of time or length?"):
        assert part in str(caught.value)


def test_gaps_are_said_and_the_longest_refused() -> None:
    assert drive([1, 1], [2_000_000, 500_000]).repairs == ()
    (repair,) = drive([1, 1, 1, 1], [2_000_001, 500_000, 60_000_000, 2_500_000]).repairs
    assert repair.where == "frames"
    assert "3 gaps of more than 2 s, the longest of 60.0 s after frame 2" in repair.reason
    with pytest.raises(DatasetError, match=r"frames 0 and 1 .* 61 s apart .* wrong unit of time"):
        drive([1], [61_000_000])
    with pytest.raises(DatasetError, match="backwards"):
        drive([1], [0])


def scale(table: str, key: str, factor: float) -> Callable[[Path], None]:
    def change(rows: list) -> None:
        for row in rows:
            value = np.array(row[key]) * factor
            row[key] = value.tolist() if value.ndim else round(float(value))

    return lambda root: tiny.edit(root, table, change)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (scale("ego_pose", "translation", 1000), "wrong unit of time or length"),
        (scale("sample_data", "timestamp", 1e-3), "wrong unit of time or length"),
        (scale("sample_data", "timestamp", 1e3), "wrong unit of time, or several logs"),
        (scale("ego_pose", "translation", 1e8), "no sensor of a frame has .*farther off than any"),
    ],
)
def test_wrong_units_in_tables_are_refused(root: Path, harm, reason: str) -> None:
    harm(root)
    with pytest.raises(DatasetError, match=reason):
        read(root)


def test_views_tell_their_files(pristine: Path) -> None:
    nusc = NuScenes("v1.0-trainval", str(pristine), verbose=False)
    sample = nusc.sample[1]
    for view, name in zip(read(pristine).frames[1].views, ("CAM_FRONT", "CAM_BACK"), strict=True):
        assert view is not None
        assert view.path == nusc.get("sample_data", sample["data"][name])["filename"]
        assert view.path.startswith(f"samples/{name}/scene-0003")


def test_generated_data_are_told_from_recordings(root: Path) -> None:
    assert not read(root).generated
    (root / "driv3r-world.json").write_text("{}")
    assert read(root).generated


def test_the_input_hash_is_of_the_data_not_of_its_place(
    root: Path, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(pristine).input_hash
    assert len(expected) == 64
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    assert read(root).input_hash == expected
    monkeypatch.chdir(root.parent)
    (tmp_path / "link").symlink_to("root")
    for place in ("root", "link"):
        assert read(Path(place)).input_hash == expected
    image = tiny.keyframe_file(root, "CAM_FRONT")
    image.write_bytes(bytes(image.stat().st_size))  # contents are not read: only their sizes
    assert read(root).input_hash == expected


def grow(root: Path) -> None:
    with tiny.keyframe_file(root, "LIDAR_TOP", number=2).open("ab") as file:
        file.write(bytes(20))


def lose(root: Path) -> None:
    tiny.keyframe_file(root, "CAM_BACK", number=1).unlink()


def change_row(table: str, part: str, key: str, change: Callable) -> Callable[[Path], None]:
    def harm(rows: list) -> None:
        row = next(row for row in rows if f"{tiny.SCENES[0]}/{part}" in row["token"])
        row[key] = change(row[key])

    return lambda root: tiny.edit(root, table, harm)


def rename_file(root: Path) -> None:
    path = tiny.keyframe_file(root, "CAM_FRONT")
    change = change_row("sample_data", "CAM_FRONT", "filename", lambda name: f"{name}.jpg")
    path.rename(f"{path}.jpg")
    change(root)


OTHERS = [
    grow,
    lose,
    rename_file,
    change_row("ego_pose", "CAM_BACK", "translation", lambda xyz: [xyz[0] + 1e-4, *xyz[1:]]),
    change_row("ego_pose", "LIDAR_TOP", "rotation", lambda wxyz: [wxyz[0], 0.001, *wxyz[2:]]),
    change_row("sample_data", "CAM_BACK", "timestamp", lambda us: us + 1),
    change_row("sample_data", "CAM_BACK", "height", lambda h: h + 1),
    change_row("calibrated_sensor", "CAM_BACK", "translation", lambda xyz: [0.5, *xyz[1:]]),
    change_row("calibrated_sensor", "LIDAR_TOP", "translation", lambda xyz: [0.5, *xyz[1:]]),
    change_row(
        "calibrated_sensor", "CAM_FRONT", "camera_intrinsic", lambda K: [[31, 0, 23.5], *K[1:]]
    ),
]


@pytest.mark.parametrize("harm", OTHERS)
def test_other_data_have_another_hash(root: Path, pristine: Path, harm) -> None:
    before = read(pristine)
    harm(root)
    assert read(root).input_hash != before.input_hash
    assert read(root, tiny.SCENES[1]).input_hash == read(pristine, tiny.SCENES[1]).input_hash


def test_what_is_asked_of_a_log_is_in_its_hash(pristine: Path) -> None:
    scenes = [read(pristine, name, sweeps) for name in tiny.SCENES for sweeps in (False, True)]
    assert len({scene.input_hash for scene in scenes}) == 4


def test_last_digits_of_poses_are_no_other_input() -> None:
    """Products of poses differ in them from processor to processor."""
    hashes = [drive([9.1], [500_000], start_m).input_hash for start_m in (1.3, 1.3 + 1e-12, 1.3001)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_links_to_another_disk_are_followed_when_allowed(root: Path, pristine: Path) -> None:
    shutil.move(root / "samples", root.parent / "disk")
    (root / "samples").symlink_to(root.parent / "disk")
    with pytest.raises(UnsafePathError, match="--follow-links"):
        read(root)
    scene, whole = read(root, follow_links=True), read(pristine)
    assert scene.input_hash == whole.input_hash
    for frame, expected in zip(scene.frames, whole.frames, strict=True):
        assert frame.repairs == ()
        for view, other in zip(frame.views, expected.views, strict=True):
            assert view is not None
            assert other is not None
            assert view.path == other.path
            np.testing.assert_array_equal(view.image, other.image)


@pytest.mark.parametrize("name", ["../secret.jpg", "samples/../../secret.jpg", "/etc/hostname"])
def test_other_ways_outside_stay_refused(root: Path, name: str) -> None:
    (root.parent / "secret.jpg").write_bytes(b"")
    change_row("sample_data", "CAM_FRONT", "filename", lambda _: name)(root)
    with pytest.raises(UnsafePathError, match="repair the table"):
        read(root, follow_links=True)


def test_links_within_the_root_need_no_option(root: Path, pristine: Path) -> None:
    shutil.move(root / "samples", root / "part1")
    (root / "samples").symlink_to("part1")
    scene = read(root)
    view = scene.frames[0].views[0]
    assert view is not None
    assert view.path.startswith("samples/CAM_FRONT/")
    assert scene.input_hash == read(pristine).input_hash


@pytest.mark.parametrize("name", ["nuscenes", "pandaset"])
def test_only_ddad_takes_a_split_file(pristine: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no split files"):
        open_dataset(name, pristine, split_file=pristine / "a.json")


def test_the_working_rig_stands_on_the_same_road(pristine: Path) -> None:
    scene = read(pristine)
    assert scene.rig.ground_z_m == 0.0  # nuScenes' ego origin lies on the road
    raised = Scene(
        scene.id,
        Rig(scene.rig.cameras, scene.rig.ego_T_lidar, -0.35),
        scene.frames,
        scene.time_us,
        scene.is_keyframe,
    )
    assert prepare_rig(raised.rig, (16, 24)).rig.ground_z_m == -0.35


@pytest.mark.parametrize(
    ("name", "folder", "scene_id"),
    [("nuscenes", "nuscenes_one_sample", "scene-0061"), ("ddad", "ddad_dgp", "scene_01")],
)
def test_real_roads_are_where_the_rig_says(
    recordings: Path, name: str, folder: str, scene_id: str
) -> None:
    """The lowest return of each square metre within 20 m; PandaSet's own test does the same."""
    scene = open_dataset(name, recordings / folder).read(scene_id)
    assert scene.rig.ego_T_lidar is not None
    sweep = scene.frames[0].sweep
    assert sweep is not None
    points_ego = apply(scene.rig.ego_T_lidar, sweep.points_lidar.astype(np.float64))
    range_m = np.linalg.norm(points_ego[:, :2], axis=1)
    near = points_ego[(range_m > 3) & (range_m < 20)]  # 3 m: not the car itself
    lowest_m: dict[tuple, float] = {}
    for x, y, z in near.tolist():
        cell = (x // 1, y // 1)
        lowest_m[cell] = min(z, lowest_m.get(cell, z))
    assert len(lowest_m) > 300
    assert abs(np.median(list(lowest_m.values())) - scene.rig.ground_z_m) < 0.1
