"""Camera rigs: one like nuScenes' car, and randomised ones for training."""

import numpy as np

from driv3r.geometry.transforms import make_transform
from driv3r.types import Camera, Rig

# name, yaw (degrees, left positive), ego_T_cam translation (metres), focal length / image width
NUSCENES_LIKE = (
    ("CAM_FRONT", 0.0, (1.70, 0.02, 1.51), 0.791),
    ("CAM_FRONT_RIGHT", -56.0, (1.55, -0.49, 1.50), 0.788),
    ("CAM_BACK_RIGHT", -110.0, (1.02, -0.48, 1.56), 0.787),
    ("CAM_BACK", 180.0, (0.03, 0.0, 1.57), 0.506),
    ("CAM_BACK_LEFT", 108.0, (1.04, 0.48, 1.59), 0.785),
    ("CAM_FRONT_LEFT", 55.0, (1.52, 0.49, 1.51), 0.795),
)
EGO_T_LIDAR = make_transform(
    np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.array([0.94, 0.0, 1.84])
)


def look_from(translation, yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0):
    """ego_T_cam of a camera at `translation` that looks along yaw, tilted up by pitch."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    forward_down = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(roll), np.sin(roll)
    twist = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return make_transform(turn @ forward_down @ tilt @ twist, np.asarray(translation, np.float64))


def make_rig(size_hw: tuple[int, int], rng: np.random.Generator | None = None) -> Rig:
    """The nuScenes-like rig; with `rng` its places, angles and focal lengths vary.

    Half of the random rigs stay near the original; the others turn the whole ring, change height,
    pitch and focal length freely, so that a network has to read the rays instead of the position.
    """
    height, width = size_hw
    free = rng is not None and rng.random() < 0.5
    lift = rng.uniform(-0.3, 0.7) if rng is not None and free else 0.0
    cameras = []
    for name, yaw, place, focal in NUSCENES_LIKE:
        pitch = roll = 0.0
        if rng is not None:
            spread = 1.0 if free else 0.2
            yaw = yaw + spread * rng.normal(0, 10.0)
            pitch, roll = spread * rng.normal(0, 2.5), spread * rng.normal(0, 1.0)
            focal = float(rng.uniform(0.5, 1.2)) if free else focal * rng.uniform(0.94, 1.06)
            place = np.asarray(place) + spread * rng.normal(0, 0.15, 3) + (0, 0, lift)
        f = focal * width
        K = np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]])
        cameras.append(Camera(name, K, size_hw, look_from(place, yaw, pitch, roll)))
    return Rig(tuple(cameras), EGO_T_LIDAR)


def trigger_offset_us(camera: Camera) -> int:
    """When a camera fires against the LiDAR: as its clockwise 50 ms sweep passes by."""
    forward = camera.ego_T_cam[:3, 2]
    clockwise_from_back = (np.pi - np.arctan2(forward[1], forward[0])) % (2 * np.pi)
    return int(round(-50_000 * (1 - clockwise_from_back / (2 * np.pi))))
