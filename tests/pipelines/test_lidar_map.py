"""LiDAR in the map: placed by the log's own path, and never scored against itself."""

import numpy as np
import pytest

from driv3r.evaluation.fused_evaluator import FusedScorer
from driv3r.geometry.transforms import apply, from_rotvec
from driv3r.pipelines.worker import place_sweep
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import FrameRecord
from driv3r.types import Camera, Frame, MovingObjects, Prediction, Rig, StaticMap, Sweep

CAMERA = Camera("front", np.eye(3), (4, 6), np.eye(4))


def record_at(world_T_ego) -> FrameRecord:
    nothing = np.full((1, 4, 6), np.nan, np.float32)
    return FrameRecord(
        Prediction((CAMERA,), nothing, nothing, nothing, None), "ok", (), np.array([-1]),
        world_T_ego, np.full((1, 4, 4), np.nan), (None,), 0.1, "in",
    )  # fmt: skip


def test_a_sweep_lies_where_the_logs_own_path_has_the_car():
    true, own = (
        from_rotvec(np.array([0, 0, turn]), np.array([x, 0.0, 0]))
        for turn, x in ((0.2, 5.0), (0.3, 4.0))
    )
    ego_T_lidar = from_rotvec(np.array([0.0, 0, 1.0]), np.array([1.0, 0, 1.8]))
    points = np.array([[10.0, 2.0, -1.0], [np.nan, 0, 0], [0.5, 0, 0]])
    frame = Frame(7, true, (None,), Sweep(points, 9, true @ ego_T_lidar))
    placed = place_sweep(record_at(own), frame)
    assert placed is not None
    np.testing.assert_allclose(placed.points_world, apply(own @ ego_T_lidar, points[:1]))
    assert placed.time_us == 9
    assert place_sweep(record_at(np.full((4, 4), np.nan)), frame) is None
    assert place_sweep(record_at(own), Frame(7, true, (None,))) is None


@pytest.mark.parametrize("source", ["cameras", "lidar", "both"])
def test_a_map_that_holds_lidar_is_not_scored_against_lidar(source):
    none = np.zeros(0, np.int64)
    three, rgb = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    static = StaticMap(
        0.2, none.reshape(0, 1).repeat(3, 1), rgb, none, none, none, rgb,
        np.zeros((0, 3), np.int8), none, none,
    )  # fmt: skip
    moving = MovingObjects(
        none, none, none, np.zeros((0, 4, 4)), three, np.zeros(0), np.zeros(0, bool), three,
        np.zeros(0), three, rgb, none,
    )  # fmt: skip
    scorer = FusedScorer(Rig((CAMERA,)), "x", source)
    figures = scorer.finish(Reconstruction(static, moving), np.eye(4)[None])
    of_map = {"map", "removal", "rendered"}
    assert set(figures) == {"motion", "objects", "flow"} | (
        of_map if source == "cameras" else set()
    )
