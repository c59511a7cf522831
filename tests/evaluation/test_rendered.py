"""Depth of a fused model against LiDAR points of a wall whose distance is known."""

import numpy as np
import pytest

from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.rendered import RenderedScorer
from driv3r.geometry.cameras import pixel_grid
from driv3r.store.reconstruction import Reconstruction
from driv3r.types import Boxes, Camera, MovingObjects, StaticMap

WALL_M, SIZE_HW = 12.0, (40, 60)
K = np.array([[50.0, 0, 30], [0, 50.0, 20], [0, 0, 1]])
CAMERA = Camera("ahead", K, SIZE_HW, np.eye(4))


def wall_at(depth_m, covered=1.0) -> Reconstruction:
    """A wall of voxels across the view (world = camera), of which the left share is there."""
    x, y = np.meshgrid(np.arange(-50, 50), np.arange(-40, 40))
    index = np.stack([x.ravel(), y.ravel(), np.full(x.size, int(depth_m / 0.2))], -1)
    index = index[index[:, 0] < -50 + 100 * covered]
    n = len(index)
    offset = np.full((n, 3), 128, np.uint8)
    offset[:, 2] = round((depth_m / 0.2 % 1) * 256)
    normal = np.tile(np.array([0, 0, -127], np.int8), (n, 1))
    one, rgb = np.ones(n, np.int64), np.zeros((n, 3), np.uint8)
    order = np.lexsort(index.T)
    static = StaticMap(0.2, index[order], offset, one, one, one, rgb, normal, one, one)
    none = np.zeros(0, np.int64)
    moving = MovingObjects(
        none, none, none, np.zeros((0, 4, 4)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, bool),
        np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3), np.uint8), none,
    )  # fmt: skip
    return Reconstruction(static, moving)


def figures(fused, own_m, boxes=None):
    uv = pixel_grid(SIZE_HW)[4:36:4, 4:56:4].reshape(-1, 2)
    truth = ViewTruth(uv, np.full(len(uv), WALL_M), SIZE_HW, {})
    scorer = RenderedScorer("own")
    scorer.add(truth, CAMERA, np.eye(4), np.eye(4), 0, boxes, np.full(SIZE_HW, own_m))
    return {(s.subject, s.metric): (s.value, s.n) for s in scorer.scores(fused)}


def test_errors_are_those_of_the_walls_distance():
    found = figures(wall_at(12.65), own_m=15.6)
    assert found["fusion", "coverage"] == (1.0, 104)
    assert found["fusion", "depth_abs_rel"][0] == pytest.approx(0.65 / 12, abs=1e-3)
    assert found["fusion", "depth_error_median"][0] == pytest.approx(0.65, abs=0.01)
    assert found["fusion", "depth_delta1"][0] == 1.0
    assert found["own", "depth_abs_rel"][0] == pytest.approx(0.3)
    assert found["own", "depth_delta1"][0] == 0.0


def test_both_are_scored_where_both_are_known():
    found = figures(wall_at(12.0, covered=0.5), own_m=12.0)
    assert found["fusion", "coverage"][0] == pytest.approx(0.5, abs=0.06)
    assert found["own", "depth_abs_rel"][1] == found["fusion", "depth_abs_rel"][1] < 104
    assert ("own", "depth_abs_rel") not in figures(wall_at(12.0), own_m=np.nan)


def test_points_on_what_moves_do_not_count():
    world_T_box = np.eye(4)
    world_T_box[:3, 3] = [-6.0, 0, WALL_M]
    box = Boxes(
        ("a",), ("car",), world_T_box[None], np.array([[12.0, 20, 2]]), np.array([[3.0, 0, 0]])
    )
    left = figures(wall_at(12.0), own_m=12.0, boxes=box)["fusion", "coverage"][1]
    assert 104 * 0.4 < left < 104 * 0.6
