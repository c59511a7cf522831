"""A real recording written out as a folder of one's own: the same images, places and points."""

from pathlib import Path

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from tests.tools.write_folder import write_folder


@pytest.mark.filterwarnings("error")
def test_ddad_is_the_same_as_a_folder(recordings: Path, tmp_path: Path) -> None:
    root = recordings / "ddad_dgp"
    scene = open_dataset("ddad", root).read("scene_01")
    log = write_folder(scene, root, tmp_path)
    own = open_dataset("folder", log).read("scene_01")
    assert own.poses_known
    assert not own.repairs
    assert len(own.frames) == len(scene.frames) == 3
    for camera, theirs in zip(own.rig.cameras, scene.rig.cameras, strict=True):
        np.testing.assert_allclose(camera.K, theirs.K, atol=1e-9)
        np.testing.assert_allclose(camera.ego_T_cam, theirs.ego_T_cam, atol=1e-9)
    ours, theirs = own.frames[1], scene.frames[1]
    for view, other in zip(ours.views, theirs.views, strict=True):
        np.testing.assert_array_equal(view.image, other.image)
        assert view.time_us == other.time_us
        moved = np.array(own.origin_world) - scene.origin_world
        np.testing.assert_allclose(
            view.world_T_cam[:3, 3] + moved, other.world_T_cam[:3, 3], atol=1e-6
        )
    points, others = ours.sweep.points_lidar, theirs.sweep.points_lidar
    np.testing.assert_allclose(points, others, atol=1e-5)  # float32 of their float64
