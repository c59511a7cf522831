"""Two drives through one street, between which cars have come and gone."""

import dataclasses

import numpy as np
import pytest
from street import car, see, window
from typer.testing import CliRunner

from driv3r.cli import app
from driv3r.errors import StoreError
from driv3r.fusion import FusionConfig, fuse
from driv3r.pipelines.fuse_logs import fuse_logs
from driv3r.settings import Provenance
from driv3r.store.commit import commit
from driv3r.store.map_store import CHANGES, MapStore
from driv3r.store.schema import FrameRecord, LogHeader
from driv3r.store.writer import LogWriter
from driv3r.types import Prediction, Rig

CONFIG = FusionConfig(pixel_stride=1)
STAYS, LEAVES, COMES = car(12, 4), car(16, -3), car(22, 3)


def write_visit(folder, name, standing, origin, start_us=0, scale="metric"):
    """A finished log of a drive; its world lies `origin` from the dataset's."""
    frames = [see(i, standing=standing, ego_x=0.8 * i) for i in range(5)]
    moved = []
    for frame in frames:
        world_T_cam, world_T_ego = frame.world_T_cam.copy(), frame.world_T_ego.copy()
        world_T_cam[:, :3, 3] -= origin
        world_T_ego[:3, 3] -= origin
        times = {"time_us": frame.time_us + start_us, "time_cam_us": frame.time_cam_us + start_us}
        moved.append(
            dataclasses.replace(
                frame, world_T_cam=world_T_cam, world_T_ego=world_T_ego, **times
            )
        )  # fmt: skip
    first = moved[0]
    header = LogHeader(
        name, "made-up", "made-up", Rig(first.cameras), first.cameras, ((0, 0, 40, 120),) * 2,
        np.array([f.time_us for f in moved]), np.ones(len(moved), bool), "a",
        Provenance({}, "c", "d", {}, "cpu", "fp32"), scale, "rig", "predicted",
        tuple(map(float, origin)),
    )  # fmt: skip
    writer = LogWriter(folder / f".{name}", header)
    for frame in moved:
        maps = (a.astype(np.float32) for a in (frame.depth_m, frame.sigma, frame.motion))
        record = FrameRecord(
            Prediction(frame.cameras, *maps, None, scale),
            "ok", (), frame.time_cam_us, frame.world_T_ego,
            np.stack([frame.world_T_ego] * 2), ("a", "b"), 0.1, "in",
        )  # fmt: skip
        writer.write_frame(frame.index, record)
    writer.write_reconstruction(fuse(window(moved), CONFIG))
    writer.seal()
    commit(folder / f".{name}", folder / f"{name}.zarr")
    return folder / f"{name}.zarr"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits")
    before = write_visit(folder, "before", [STAYS, LEAVES], np.zeros(3))
    after = write_visit(folder, "after", [STAYS, COMES], np.array([3.13, -7.41, 0.57]), 10**9)
    return before, after


def on_front(places, box):
    """Voxels on the side of a box that faces the car, above the road."""
    low, high = box
    near = np.abs(places[:, 0] - low[0]) < 0.25
    inside = (places[:, 1] > low[1] + 0.2) & (places[:, 1] < high[1] - 0.2)
    return near & inside & (places[:, 2] > 0.5) & (places[:, 2] < high[2])


def test_a_car_that_left_is_gone_one_that_came_is_new_and_the_street_is_the_same(logs, tmp_path):
    joint = fuse_logs(logs[::-1], tmp_path / "map.zarr")
    made = MapStore.open(tmp_path / "map.zarr")
    assert joint.logs == made.logs == ("before", "after")
    static, change, visits = made.static(), made.change(), made.visits()
    places = static.points_world
    for box, expected in ((LEAVES, "gone"), (COMES, "new"), (STAYS, "same")):
        rows = on_front(places, box)
        assert rows.sum() > 15
        share = np.mean(change[rows] == CHANGES.index(expected))
        assert share > 0.9, (expected, share)
    road = (np.abs(places[:, 2]) < 0.15) & (visits == 2)
    assert road.sum() > 200
    assert np.mean(change[road] == CHANGES.index("same")) > 0.95
    wall = (np.abs(places[:, 0] - 40) < 0.3) & (places[:, 2] > 0.5)
    assert np.abs(places[wall, 0] - 40).max() < 0.05
    assert joint.changes == {
        name: int((change == i).sum()) for i, name in enumerate(CHANGES)
    }  # fmt: skip
    assert joint.overlaps[0].gap_m < 0.02  # both are exact, on other grids
    assert static.normal[wall].any(-1).mean() > 0.9


def test_a_map_of_one_log_is_its_own_and_order_changes_no_sum(logs, tmp_path):
    from driv3r import open_log

    fuse_logs(logs[:1], tmp_path / "one.zarr")
    own, found = open_log(logs[0]).static(), MapStore.open(tmp_path / "one.zarr").static()
    for name in ("index", "offset", "hits", "weight", "rgb"):
        np.testing.assert_array_equal(getattr(own, name), getattr(found, name), name)
    assert not MapStore.open(tmp_path / "one.zarr").change().any()


def test_what_can_not_be_joined_is_said_and_nothing_is_written(logs, tmp_path):
    out = tmp_path / "map.zarr"
    unscaled = write_visit(tmp_path, "unscaled", [], np.zeros(3), scale="similarity")
    for wrong, expected in (
        ([logs[0], unscaled], "unscaled.zarr.*metric scale"),
        ([logs[0], logs[0]], "another name"),
        ([tmp_path / "nothing.zarr"], "no readable log"),
    ):
        with pytest.raises(StoreError, match=expected):
            fuse_logs(wrong, out)
        assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(StoreError, match="no map"):
        fuse_logs(logs, out, replace=True)
    assert (out / "mine.txt").read_text() == "keep"
    with pytest.raises(StoreError, match="driv3r fuse"):
        MapStore.open(out)


def test_the_command_tells_what_has_changed_and_writes_a_map_anew_only_when_told(logs, tmp_path):
    out = tmp_path / "map.zarr"
    command = ["fuse", *map(str, logs), "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "gone" in done.output
    assert "before" in done.output
    assert isinstance(CliRunner().invoke(app, command).exception, StoreError)
    assert CliRunner().invoke(app, [*command, "--replace"]).exit_code == 0
