"""Boxes in a hall as cameras see them, and what a two-image network might say of it."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import zoom

from driv3r.alignment.pointmaps import PairPoints, cast_rays, centre_of, make_K
from driv3r.alignment.rig_scale import RigPoints
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert

SIZE_HW = (32, 48)
FOCAL_BY_WIDTH = 40 / 48
HALL = (np.array([-8.0, -3.0, -6.0]), np.array([8.0, 2.0, 12.0]))  # y is down: the floor is at 2
BOXES = (
    (np.array([-4.0, -0.5, 5.0]), np.array([-2.0, 2.0, 7.0])),
    (np.array([1.0, 0.5, 4.0]), np.array([3.5, 2.0, 6.0])),
    (np.array([-1.0, -2.0, 8.0]), np.array([0.5, 2.0, 9.0])),
    (np.array([4.5, -1.0, 8.0]), np.array([6.5, 2.0, 10.0])),
)


class Views(NamedTuple):
    """Cameras with exact depth."""

    K: np.ndarray
    world_T_cam: np.ndarray
    depth: np.ndarray

    def lift(self) -> np.ndarray:
        points_cam = cast_rays(self.K, self.depth.shape[1:]) * self.depth[..., None]
        return np.stack([apply(T, p) for T, p in zip(self.world_T_cam, points_cam, strict=True)])


def hit_scene(origins: np.ndarray, rays: np.ndarray, boxes=BOXES, hall=HALL) -> np.ndarray:
    """How many ray lengths it takes to the nearest wall or box."""
    inverse = 1.0 / np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    near, far = ((side - origins) * inverse for side in hall)
    best = np.maximum(near, far).min(-1)
    for low, high in boxes:
        near, far = (low - origins) * inverse, (high - origins) * inverse
        enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
        best = np.where((enter < leave) & (enter > 0), np.minimum(best, enter), best)
    return best


def see(K: np.ndarray, world_T_cam: np.ndarray, size_hw=SIZE_HW, boxes=BOXES, hall=HALL):
    """Depth of what some cameras see."""
    rays = np.einsum("vij,vhwj->vhwi", world_T_cam[:, :3, :3], cast_rays(K, size_hw))
    return hit_scene(world_T_cam[:, None, None, :3, 3], rays, boxes, hall)


def make_views(count: int, spread_m: float = 1.0, size_hw=SIZE_HW, seed: int = 0) -> Views:
    """Cameras side by side, turned a little, all looking into the hall."""
    rng = np.random.default_rng(seed)
    places = np.stack([np.linspace(-spread_m, spread_m, count), np.zeros(count), np.zeros(count)])
    shifts = places.T + rng.normal(0, 0.2 * spread_m, (count, 3)) * [1, 0.5, 1]
    world_T_cam = from_rotvec(rng.normal(0, 0.1, (count, 3)), shifts)
    K = np.tile(make_K(FOCAL_BY_WIDTH * size_hw[1], centre_of(size_hw)), (count, 1, 1))
    return Views(K, world_T_cam, see(K, world_T_cam, size_hw))


def predict_pairs(
    views: Views, pairs, noise: float = 0.0, outliers: float = 0.0, seed: int = 0
) -> PairPoints:
    """Both pointmaps of each pair in the first camera's frame, every pair in a unit of its own.

    `noise` is relative to depth; `outliers` have a wrong depth and low confidence.
    """
    rng = np.random.default_rng(seed)
    world, found, confidence = views.lift(), [], []
    for pair in pairs:
        cam_T_world = invert(views.world_T_cam[pair[0]])
        both = np.stack([apply(cam_T_world, world[i]) for i in pair])
        size = np.linalg.norm(both, axis=-1, keepdims=True)
        both = both + rng.normal(0, 1, both.shape) * noise * size
        wrong = rng.random(both.shape[:-1]) < outliers
        both[wrong] *= rng.uniform(0.5, 2.0, (np.count_nonzero(wrong), 1))
        found.append(both * rng.uniform(0.3, 3.0))
        confidence.append(np.where(wrong, 1.5, rng.uniform(3, 10, wrong.shape)))
    return PairPoints(np.array(pairs), np.stack(found), np.stack(confidence))


def both_orders(count: int, reach: int = 99) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(count) if 0 < abs(i - j) <= reach]


def compare_poses(found: np.ndarray, truth: np.ndarray, metric: bool) -> tuple[float, float, float]:
    """Largest turn in degrees, largest place error by the truth's spread, and scale minus 1.

    Unless metric, the answer is first brought to the truth by the first camera and one scale.
    """
    if not metric:
        found = invert(found[0]) @ found
        truth = invert(truth[0]) @ truth
    spread = np.linalg.norm(truth[:, :3, 3] - truth[:, :3, 3].mean(0), axis=-1).max()
    scale = (found[:, :3, 3] * truth[:, :3, 3]).sum() / (truth[:, :3, 3] ** 2).sum()
    if not metric:
        found = found.copy()
        found[:, :3, 3] /= scale
    turn = np.degrees(angle_rad(invert(truth) @ found)).max()
    place = np.linalg.norm(found[:, :3, 3] - truth[:, :3, 3], axis=-1).max() / spread
    return float(turn), float(place), float(scale - 1)


STREET = (np.array([-60.0, -9.0, -12.0]), np.array([90.0, 14.0, 0.0]))  # z is down: the road at 0
HOUSES = tuple(
    (np.array([x, y, -h]), np.array([x + w, y + 3.0, 0.0]))
    for x, y, w, h in (
        (-25.0, 6.0, 6.0, 5.0),
        (-8.0, -6.5, 4.0, 2.0),
        (-3.0, 7.0, 5.0, 3.0),
        (8.0, -7.0, 4.5, 1.6),
        (14.0, 5.0, 4.5, 1.8),
        (22.0, -8.0, 7.0, 6.0),
        (33.0, 6.0, 5.0, 4.0),
        (45.0, -2.0, 4.0, 2.5),
    )
)
CAMERA_TURN = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])  # to x ahead, y right, z down


class Drive(NamedTuple):
    """t frames of a rig of v cameras in a street."""

    K: np.ndarray
    world_T_cam: np.ndarray
    depth_m: np.ndarray


def make_drive(
    frames: int = 3, step_m: float = 3.0, turn_rad: float = 0.03, views: int = 6, size_hw=SIZE_HW
) -> Drive:
    """A rig of cameras all around drives down a street; each camera has its own time."""
    K = np.tile(make_K(0.65 * size_hw[1], centre_of(size_hw)), (views, 1, 1))
    world_T_cam = np.zeros((frames, views, 4, 4))
    for t, v in np.ndindex(frames, views):
        yaw, late = 2 * np.pi * v / views, 0.1 * v / views
        ego_T_cam = from_rotvec(
            np.array([0, 0, yaw]), np.array([1.2 * np.cos(yaw), 0.6 * np.sin(yaw), -1.6])
        )
        ego_T_cam[:3, :3] = ego_T_cam[:3, :3] @ CAMERA_TURN
        driven = t + late
        bend = from_rotvec(np.array([0, 0, turn_rad * driven]), np.array([step_m * driven, 0.2, 0]))
        world_T_cam[t, v] = bend @ ego_T_cam
    depth_m = np.stack([see(K, T, size_hw, HOUSES, STREET) for T in world_T_cam])
    return Drive(K, world_T_cam, depth_m)


def predict_drive(
    drive: Drive, noise: float = 0.0, drift: float = 0.0, seed: int = 0
) -> tuple[RigPoints, np.ndarray]:
    """Each camera's pointmaps in its frame 0, and the metres in its unit.

    `noise` is relative to depth and smooth over some pixels, a fifth of it is so in all directions.
    `drift` misplaces each later pointmap: by its share of the motion, and as many radians / 5.
    """
    rng = np.random.default_rng(seed)
    frames, views, h, w = drive.depth_m.shape
    unit_m = rng.uniform(2.0, 30.0, views)
    points = np.zeros((frames, views, h, w, 3))
    for t, v in np.ndindex(frames, views):
        smooth = 1 + zoom(rng.normal(0, noise, (h // 8 + 2, w // 8 + 2)), 8, order=1)[:h, :w]
        cam = cast_rays(drive.K[v : v + 1], (h, w))[0] * drive.depth_m[t, v, ..., None]
        size = np.linalg.norm(cam, axis=-1, keepdims=True)
        cam = cam * smooth[..., None] + rng.normal(0, noise / 5, cam.shape) * size
        first_T_cam = invert(drive.world_T_cam[0, v]) @ drive.world_T_cam[t, v]
        moved = np.linalg.norm(first_T_cam[:3, 3])
        astray = from_rotvec(
            rng.normal(0, drift / 5, 3) * (t > 0), rng.normal(0, drift / 3**0.5, 3) * moved
        )
        points[t, v] = apply(astray @ first_T_cam, cam) / unit_m[v]
    confidence = np.ones((frames, views, h, w))
    return RigPoints(points, confidence, drive.K, drive.world_T_cam), unit_m
