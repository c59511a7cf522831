"""Boxes in a hall as cameras see them, and what a two-image network might say of it."""

from typing import NamedTuple

import numpy as np

from driv3r.align.views import PairPoints, cast_rays, centre_of, make_K
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


def tell_pairs(
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
