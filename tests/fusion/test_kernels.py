"""Kernels of the fusion against numpy's answers."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from street import CAMERAS, car, see, window

from driv3r.fusion import FusionConfig
from driv3r.fusion.consistency import gather_evidence, lift_pixels
from driv3r.geometry.transforms import from_rotvec
from driv3r.kernels.symmetric_eigen import find_eigenvectors


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), flat=st.sampled_from([1.0, 1e-3, 0.0]))
def test_eigenvectors_are_lapacks(seed, flat):
    """Of planes and lines, too, whose least values are nearly or wholly 0."""
    spread = np.random.default_rng(seed).normal(size=(5, 9, 3)) * [3.0, 1.0, flat]
    matrices = np.einsum("nki,nkj->nij", spread, spread)
    values, vectors = np.empty((5, 3)), np.empty((5, 3, 3))
    find_eigenvectors(matrices.copy(), values, vectors)
    theirs = np.linalg.eigvalsh(matrices)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(values, theirs, atol=1e-12 * scale)
    np.testing.assert_allclose(matrices @ vectors, vectors * values[:, None], atol=1e-12 * scale)
    turned = np.swapaxes(vectors, 1, 2) @ vectors
    np.testing.assert_allclose(turned, np.broadcast_to(np.eye(3), turned.shape), atol=1e-12)


def test_views_that_are_not_asked_see_none_of_the_points():
    """What a pyramid of the pixels rules out is what each pixel by itself does not meet."""
    config = FusionConfig()
    turned = from_rotvec(np.array([0.0, 0.0, np.pi]), np.zeros(3)) @ CAMERAS[0].ego_T_cam
    cameras = (*CAMERAS, dataclasses.replace(CAMERAS[0], name="back", ego_T_cam=turned))
    street = {"standing": [car(15, 3)], "cameras": cameras}
    frames = window([see(i, ego_x=2.0 * i, **street) for i in range(4)])
    own = lift_pixels(frames[1], config)
    ruled_out = 0
    for view in np.unique(own.view):
        points = own.point_world[own.view == view]
        camera, world_T_cam = frames[1].cameras[view], frames[1].world_T_cam[view]
        height, width = camera.size_hw
        corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], float)
        rays = corners @ np.linalg.inv(camera.K).T @ world_T_cam[:3, :3].T
        apex = world_T_cam[:3, 3]
        hull = np.concatenate([apex[None], apex + rays * 200.0])
        for other in range(4):
            views = frames[other].placed
            pixel, z_m = views.locate(points, hull)
            every, every_m = views.locate(points)
            np.testing.assert_array_equal(pixel, every)
            np.testing.assert_array_equal(z_m[pixel >= 0], every_m[pixel >= 0])
            ruled_out += int((every < 0).all(1).sum())
    assert ruled_out > 0
    assert len(gather_evidence(frames, 1, config)) == len(own)
