"""Scenes of moving things."""

import numpy as np

from driv3r.simulator.rendering.actor_geometry import make_scene


def test_thousands_of_scenes_can_live_at_once():
    """A long log with a crowd makes more than Embree allows devices; rays still meet each."""
    corners = np.array([[5.0, -1, -1], [5, 1, -1], [5, 0, 1]])
    ahead = np.array([[1, 0, 0]], np.float32)
    scenes = [make_scene(corners + [i, 0, 0], np.array([[0, 1, 2]])) for i in range(3000)]
    for i in (0, 1500, 2999):
        out = scenes[i].run(np.zeros((1, 3), np.float32), ahead, output=True)
        np.testing.assert_allclose(out["tfar"], 5.0 + i, rtol=1e-6)
