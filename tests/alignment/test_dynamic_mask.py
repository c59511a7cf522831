"""The motion score against closed forms: a plane, and a square that moves along it."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from driv3r.alignment.motion_segmentation import estimate_flow, explain_flow, score_motion
from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.transforms import from_rotvec
from driv3r.types import Camera

SIZE_HW, FOCAL, CENTRE, PLANE_M = (120, 160), 100.0, np.array([78.0, 61.5]), 10.0
SHIFT_M = np.array([0.5, 0.0, 0.0])  # of the square, along the plane
SQUARE_M = 2.0  # half of its side
WORLD_T_FIRST = from_rotvec(np.array([0.3, -1.0, 0.4]), np.array([600.0, 1600.0, 2.0]))


def make_camera() -> Camera:
    K = np.array([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])
    return Camera("front", K, SIZE_HW, np.eye(4))


def look(first_T_cam: np.ndarray) -> np.ndarray:
    """Points of the plane (z = PLANE_M in the first camera) behind each pixel of a camera."""
    v, u = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]] + 0.5
    rays_cam = np.stack([(u - CENTRE[0]) / FOCAL, (v - CENTRE[1]) / FOCAL, np.ones_like(u)], -1)
    rays = rays_cam @ first_T_cam[:3, :3].T
    length = (PLANE_M - first_T_cam[2, 3]) / rays[..., 2:]
    return first_T_cam[:3, 3] + rays * length


def see(points_first: np.ndarray, first_T_cam: np.ndarray) -> np.ndarray:
    """(u, v) of points."""
    points = (points_first - first_T_cam[:3, 3]) @ first_T_cam[:3, :3]
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


def find_square(points_first: np.ndarray) -> np.ndarray:
    return (np.abs(points_first[..., :2]) < SQUARE_M).all(-1)


def true_flow(first_T_second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane's and the moving square's flow, and where the square is."""
    points = look(np.eye(4))
    square = find_square(points)
    moved = points + np.where(square[..., None], SHIFT_M, 0.0)
    return see(moved, first_T_second) - see(points, np.eye(4)), square


def paint(first_T_cam: np.ndarray, shift_m: np.ndarray) -> np.ndarray:
    """An image of the textured plane with the square, shifted, on it."""
    rng = np.random.default_rng(3)
    waves, phases = rng.normal(0, 4, (24, 2)), rng.uniform(0, 7, (24, 1, 1))
    points = look(first_T_cam)
    square = find_square(points - shift_m)
    points = np.where(square[..., None], points - shift_m + 50, points)
    angles = np.einsum("ni,hwi->nhw", waves, points[..., :2]) + phases
    grey = 128 + 25 * np.sin(angles).sum(0) / 2
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, -1)


def score(flow: np.ndarray, first_T_second: np.ndarray, depth_m: np.ndarray | None = None):
    depth_m = np.full(SIZE_HW, PLANE_M) if depth_m is None else depth_m
    world_T_second = WORLD_T_FIRST @ first_T_second
    return score_motion(make_camera(), depth_m, WORLD_T_FIRST, world_T_second, flow)


def test_only_the_square_moves_by_what_it_moves():
    first_T_second = from_rotvec(np.zeros(3), np.array([0.3, -0.1, 2.0]))
    flow, square = true_flow(first_T_second)
    residual = score(flow, first_T_second)
    seen = np.isfinite(residual)
    assert seen[square].all()
    assert 0.5 < seen.mean() < 1  # driving on, the image's edge goes out of sight
    np.testing.assert_allclose(residual[square], FOCAL * SHIFT_M[0] / (PLANE_M - 2.0), atol=1e-9)
    np.testing.assert_allclose(residual[seen & ~square], 0, atol=1e-9)


def test_turning_needs_no_depth_and_explains_its_own_flow():
    first_T_second = from_rotvec(np.array([0.02, 0.05, -0.03]), np.zeros(3))
    depth_m = np.random.default_rng(0).uniform(2, 50, SIZE_HW)
    residual = score(true_flow(first_T_second)[0] * 0, first_T_second, depth_m)
    points = look(np.eye(4))
    expected = np.linalg.norm(see(points, first_T_second) - see(points, np.eye(4)), axis=-1)
    seen = np.isfinite(residual)
    np.testing.assert_allclose(residual[seen], expected[seen], atol=1e-9)


def test_unknown_depth_and_what_comes_behind_the_camera_have_no_score():
    depth_m = np.full(SIZE_HW, PLANE_M)
    depth_m[0, :4] = np.nan, np.inf, 0.0, -1.0
    depth_m[60, 80] = 1.0
    flow = np.zeros((*SIZE_HW, 2))
    assert not np.isfinite(score(flow, np.eye(4), depth_m)[0, :4]).any()
    passed = score(flow, from_rotvec(np.zeros(3), np.array([0.0, 0.0, 1.5])), depth_m)
    assert np.isnan(passed[60, 80])
    assert np.isfinite(passed[60, 90])


@pytest.mark.parametrize("turn_rad", [0.0, 0.02])
def test_the_square_stands_out_in_estimated_flow(turn_rad):
    first_T_second = from_rotvec(np.array([0.0, turn_rad, 0.0]), np.array([0.1, 0.0, 0.3]))
    images = paint(np.eye(4), np.zeros(3)), paint(first_T_second, SHIFT_M)
    residual = score(estimate_flow("dis", *images), first_T_second)
    _, square = true_flow(first_T_second)
    expected = FOCAL * SHIFT_M[0] / (PLANE_M - 0.3)
    assert np.nanmedian(residual[square]) == pytest.approx(expected, rel=0.1)
    assert np.nanmedian(residual[~square]) < 0.2
    seen = np.isfinite(residual)
    agree = (residual[seen] > expected / 2) == square[seen]
    assert agree.mean() > 0.95


def test_what_does_not_fit_is_refused():
    camera, flow = make_camera(), np.zeros((*SIZE_HW, 2))
    with pytest.raises(GeometryError, match="front"):
        explain_flow(camera, np.ones((10, 10)), np.eye(4), np.eye(4))
    with pytest.raises((GeometryError, TypeCheckError)):
        score(flow[:10], np.eye(4))
    image = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ConfigError, match="dis"):
        estimate_flow("raft", image, image)
    with pytest.raises((GeometryError, TypeCheckError)):
        estimate_flow("dis", image, image[:16])
    with pytest.raises(GeometryError, match="12 pixels"):
        estimate_flow("dis", image[:8], image[:8])
