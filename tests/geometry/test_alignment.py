import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import GeometryError
from driv3r.geometry.transforms import apply, from_rotvec
from driv3r.geometry.umeyama import align_umeyama


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_a_known_similarity_is_recovered(seed, scale):
    rng = np.random.default_rng(seed)
    src = rng.normal(size=(12, 3))
    true = from_rotvec(rng.normal(size=3), rng.normal(size=3) * 10)
    dst = scale * src @ true[:3, :3].T + true[:3, 3]
    found, dst_T_src = align_umeyama(dst, src, with_scale=True)
    np.testing.assert_allclose(found, scale, rtol=1e-9)
    np.testing.assert_allclose(dst_T_src, true, atol=1e-8)


def test_noise_never_gives_a_reflection_and_beats_random_poses():
    rng = np.random.default_rng(1)
    src, dst = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))
    _, best = align_umeyama(dst, src, with_scale=False)
    np.testing.assert_allclose(np.linalg.det(best[:3, :3]), 1.0)
    residual = np.sum((apply(best, src) - dst) ** 2)
    for _ in range(200):
        other = from_rotvec(rng.normal(size=3), rng.normal(size=3) * 0.3)
        assert residual <= np.sum((apply(other, src) - dst) ** 2)


def test_a_straight_path_is_aligned():
    src = np.outer(np.arange(5.0), [1, 0, 0])
    dst = np.outer(np.arange(5.0), [0, 2, 0]) + 3
    scale, dst_T_src = align_umeyama(dst, src, with_scale=True)
    np.testing.assert_allclose(scale, 2.0)
    np.testing.assert_allclose(scale * src @ dst_T_src[:3, :3].T + dst_T_src[:3, 3], dst, atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((3, 3), np.nan)])
def test_nothing_to_align_is_an_error(points):
    with pytest.raises(GeometryError, match="finite"):
        align_umeyama(points, points, with_scale=False)


def test_scale_of_one_place_is_an_error():
    with pytest.raises(GeometryError, match="scale"):
        align_umeyama(np.ones((4, 3)), np.ones((4, 3)), with_scale=True)
