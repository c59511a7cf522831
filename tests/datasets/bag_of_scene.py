"""Any scene as the messages of a bag: its image files, its points, its poses at their own times."""

from pathlib import Path

import numpy as np

from driv3r.geometry.transforms import invert
from driv3r.types import Camera, Scene
from tests.datasets import tiny_rosbag as tiny


def messages_of(root: Path, scene: Scene) -> list[tiny.Sent]:
    """Topics /<camera>/image_raw/compressed and camera_info, /lidar/points, /tf and /tf_static.

    base_link is the scene's ego frame, and so is base_footprint where that lies on the road.
    """
    rig, start_us = scene.rig, int(scene.time_us[0])
    fixed = [("base_link", camera.name, camera.ego_T_cam) for camera in rig.cameras]
    fixed.append(("base_link", "base_footprint", tiny.shifted(0, 0, rig.ground_z_m)))
    if rig.ego_T_lidar is not None:
        fixed.append(("base_link", "lidar", rig.ego_T_lidar))
    made = [tiny.transforms("/tf_static", start_us, *fixed)]
    made += [_info(camera, start_us) for camera in rig.cameras]
    places: dict[int, np.ndarray] = {}
    for frame in scene.frames:
        for camera, view in zip(rig.cameras, frame.views, strict=True):
            if view is not None:
                file = (root / view.path).read_bytes()
                cdr = tiny.Cdr().header(view.time_us, camera.name).text("jpeg").octets(file)
                topic = f"/{camera.name}/image_raw/compressed"
                made.append(tiny.sent(topic, "CompressedImage", view.time_us, cdr))
                places[view.time_us] = view.world_T_cam @ invert(camera.ego_T_cam)
        if frame.sweep is not None and rig.ego_T_lidar is not None:
            sweep = frame.sweep
            made.append(tiny.cloud("/lidar/points", sweep.time_us, sweep.points_lidar))
            places[sweep.time_us] = sweep.world_T_lidar @ invert(rig.ego_T_lidar)
    made += [
        tiny.transforms("/tf", time_us, ("map", "base_link", world_T_ego))
        for time_us, world_T_ego in places.items()
    ]
    return sorted(made, key=lambda each: each.log_us)


def _info(camera: Camera, time_us: int) -> tiny.Sent:
    K = camera.K.copy()
    K[:2, 2] -= 0.5
    size_hw, p = camera.size_hw, np.concatenate([K, np.zeros((3, 1))], 1).ravel()
    return tiny.info(
        f"/{camera.name}/camera_info",
        time_us,
        camera.name,
        size_hw=size_hw,
        d=camera.distortion,
        k=K.ravel(),
        p=p,
    )
