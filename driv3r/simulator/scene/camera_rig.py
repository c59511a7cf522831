"""Camera rigs: one like nuScenes' car, and randomised ones for training."""

import numpy as np

from driv3r.geometry.transforms import make_transform
from driv3r.simulator.scene.layouts import HIGH_M, LOW_M, survey_cameras
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
RIG_SHARES = {"surveyed": 0.35, "near": 0.26, "turned": 0.2275, "spread": 0.1625}
TURN_S = 0.05  # of the LiDAR
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


def make_rig(
    size_hw: tuple[int, int], rng: np.random.Generator | None = None, lenses: bool = False
) -> Rig:
    """The nuScenes-like rig; with `rng` its places, angles and focal lengths vary.

    Some random rigs take after the cars of other data sets (layouts.py); some stay near the
    original; some turn the whole ring and change height, pitch and focal length freely, so that a
    network has to read the rays instead of the position; some have three to eight cameras spread
    about the car. All cameras of random rigs hang LOW_M to HIGH_M over the road. With `lenses`
    they distort radially.
    """
    if rng is None:
        return _assemble(size_hw, NUSCENES_LIKE, None, 0.0, lenses)
    kind = str(rng.choice(list(RIG_SHARES), p=list(RIG_SHARES.values())))
    if kind == "surveyed":
        return _assemble(size_hw, survey_cameras(rng), rng, 0.0, lenses)
    if kind == "near":
        return _assemble(size_hw, NUSCENES_LIKE, rng, 0.2, lenses)
    if kind == "turned":
        return _assemble(size_hw, NUSCENES_LIKE, rng, 1.0, lenses)
    return _assemble(size_hw, spread_cameras(rng), rng, 0.5, lenses)


def spread_cameras(rng: np.random.Generator) -> tuple:
    """Three to eight cameras about the roof, their images overlapping or nearly so."""
    count = int(rng.integers(3, 9))
    first = rng.choice([0.0, 180.0 / count])
    overlap = rng.uniform(0.95, 1.3)
    focal = float(np.clip(0.5 / np.tan(np.pi * min(overlap / count, 0.42)), 0.4, 1.1))
    rows = []
    for k in range(count):
        yaw = (first + 360.0 * k / count + 180) % 360 - 180
        ahead, left = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        rows.append((f"CAM_{k}", yaw, (1.0 + 0.7 * ahead, 0.5 * left, 1.6), focal))
    return tuple(rows)


def _assemble(
    size_hw: tuple[int, int], cameras: tuple, rng: np.random.Generator | None, spread: float, lenses
) -> Rig:
    """Cameras of rows like NUSCENES_LIKE; `spread` scales how far they stray from them."""
    height, width = size_hw
    lift = rng.uniform(-0.3, 0.8) * spread if rng is not None else 0.0
    tilt = rng.normal(0, 3.0) * max(spread, 0.3) if rng is not None else 0.0
    out = []
    for name, yaw, place, focal in cameras:
        pitch = roll = 0.0
        if rng is not None:
            yaw = yaw + spread * rng.normal(0, 10.0)
            sway = max(spread, 0.4)
            pitch, roll = tilt + sway * rng.normal(0, 2.0), sway * rng.normal(0, 1.0)
            if spread:
                focal *= rng.uniform(0.65, 1.4) if spread == 1 else rng.uniform(0.94, 1.06)
            place = np.asarray(place) + spread * rng.normal(0, 0.15, 3) + (0, 0, lift)
            place[2] = np.clip(place[2], LOW_M, HIGH_M)
        f = focal * width
        K = np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]])
        bend = ()
        if lenses and rng is not None:
            k1 = float(rng.uniform(-0.12, 0.05))
            bend = (k1, -0.2 * k1)
        out.append(Camera(name, K, size_hw, look_from(place, yaw, pitch, roll), bend))
    return Rig(tuple(out), EGO_T_LIDAR)


def trigger_offset_us(camera: Camera) -> int:
    """When a camera fires against the LiDAR: as its clockwise 50 ms sweep passes by."""
    forward = camera.ego_T_cam[:3, 2]
    clockwise_from_back = (np.pi - np.arctan2(forward[1], forward[0])) % (2 * np.pi)
    return int(round(-1e6 * TURN_S * (1 - clockwise_from_back / (2 * np.pi))))
