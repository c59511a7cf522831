"""A spinning LiDAR: 32 beams, one turn in 50 ms, points compensated to the turn's end.

The sensor turns clockwise from behind the car. What stands still is right after compensation by the
car's own motion; what moves stays distorted by it, as in real recordings.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from driv3r.geometry.transforms import invert
from driv3r.simulator.assets.mesh import Material
from driv3r.simulator.rendering.actor_geometry import Moving
from driv3r.simulator.rendering.actor_state import ActorRenderer
from driv3r.simulator.rendering.bvh import rays_near, shoot, turn_rays
from driv3r.simulator.rendering.ray_casting import Hits, Surfaces, cast_one, cast_still, find
from driv3r.simulator.scene.camera_rig import EGO_T_LIDAR, TURN_S
from driv3r.simulator.scene.world import World

BEAMS, COLUMNS = 32, 1084
ELEVATION_DEG = (-30.67, 10.67)
RANGE_M = (1.0, 100.0)
NOISE_M = 0.015
DIVERGENCE_RAD = 0.0012
FROM_ASIDE, BETWEEN = 0.25, 0.04  # at edges: shares of echoes from beside, and of mixed ones
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
STEP = 0.08  # of the range, across an edge


@dataclass(frozen=True, eq=False)
class Scan:
    """One sweep in the sensor's frame at the turn's end; intensity in 0..255, ring from below."""

    points_lidar: Float32[np.ndarray, "n 3"]
    intensity: Float32[np.ndarray, "n"]
    ring: Int[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Beams:
    """Rays of a turn: direction in the sensor's frame, ring, column; each column has its time."""

    column_s: Float[np.ndarray, "columns"]
    column: Int[np.ndarray, "n"]
    directions_lidar: Float[np.ndarray, "n 3"]
    ring: Int[np.ndarray, "n"]


def make_beams(end_s: float) -> Beams:
    """The rays of the turn that ends at a time."""
    elevation = np.radians(np.linspace(*ELEVATION_DEG, BEAMS))[:, None]
    share = (np.arange(COLUMNS) + 0.5) / COLUMNS  # of the turn, clockwise from behind
    azimuth_ego = np.pi - 2 * np.pi * share
    flat = np.cos(elevation)
    directions_ego = np.stack(
        [flat * np.cos(azimuth_ego), flat * np.sin(azimuth_ego), np.sin(elevation) + 0 * share], -1
    ).reshape(-1, 3)
    ring, column = np.divmod(np.arange(BEAMS * COLUMNS), COLUMNS)
    column_s = end_s - TURN_S * (1 - share)
    return Beams(column_s, column, directions_ego @ EGO_T_LIDAR[:3, :3], ring)


def scan(world: World, still: Surfaces, theatre: ActorRenderer, end_s: float) -> Scan:
    """One sweep: range noise, weak returns lost, a few false points between near and far."""
    rng = np.random.default_rng([world.seed, 77, int(end_s * 1e6) & 0xFFFFFFF])
    beams = make_beams(end_s)
    world_T_lidar = world.ego.world_T_ego_at(beams.column_s) @ EGO_T_LIDAR
    range_m, power = _measure(world, still, theatre, beams, world_T_lidar, end_s)
    pick = rng.random(len(range_m))
    rows = np.flatnonzero(_by_edges(range_m) & ((pick < FROM_ASIDE) | (pick > 1 - BETWEEN)))
    aside = beams.directions_lidar[rows] + rng.normal(0, DIVERGENCE_RAD, (len(rows), 3))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    beside = Beams(beams.column_s, beams.column[rows], aside, beams.ring[rows])
    other_m, _ = _measure(world, still, theatre, beside, world_T_lidar, end_s)
    other_m = np.where(np.abs(other_m / range_m[rows] - 1) > STEP, other_m, range_m[rows])
    range_m[rows] = np.where(pick[rows] < FROM_ASIDE, other_m, 0.5 * (range_m[rows] + other_m))
    keep = np.isfinite(range_m) & (range_m > RANGE_M[0]) & (range_m < RANGE_M[1])
    keep &= rng.random(len(keep)) < np.clip(1.25 - 0.25 / np.maximum(power, 0.02), 0.02, 0.985)
    range_m = range_m + rng.normal(0, NOISE_M, len(range_m))
    end_T_world = invert(world.ego.world_T_ego(end_s) @ EGO_T_LIDAR)
    end_T_lidar = (end_T_world @ world_T_lidar)[beams.column[keep]]
    own = beams.directions_lidar[keep] * range_m[keep, None]
    points_lidar = np.einsum("nij,nj->ni", end_T_lidar[:, :3, :3], own) + end_T_lidar[:, :3, 3]
    intensity = np.clip(power[keep] * 90 * rng.uniform(0.8, 1.2, int(keep.sum())), 0, 255)
    return Scan(points_lidar.astype(np.float32), intensity.astype(np.float32), beams.ring[keep])


def _by_edges(range_m: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Which beams are beside one of quite another range (or of none), by ring and by column."""
    image = np.where(np.isfinite(range_m), range_m, 1e3).reshape(BEAMS, COLUMNS)
    low, high = cv2.erode(image, CROSS), cv2.dilate(image, CROSS)
    return ((high > (1 + STEP) * image) | (low < (1 - STEP) * image)).reshape(-1)


def _measure(
    world: World, still: Surfaces, theatre: ActorRenderer, beams: Beams, world_T_lidar, end_s: float
):
    """Range (NaN: none) of rays, each with its column's frame, and the strength of its echo."""
    origins, directions = np.empty((2, len(beams.column), 3), np.float32)
    shoot(beams.directions_lidar, beams.column, world_T_lidar, origins, directions)
    hits = cast_still(still, origins, directions)
    moving = _cast_moving(world, theatre, beams, origins, directions, end_s, hits)
    found = find(hits, origins, directions, still, moving)
    range_m = np.where(hits.kind > 0, hits.range_m, np.nan)
    return range_m, np.where(hits.kind > 0, _echo(found, directions), 0.0)


def _cast_moving(
    world: World,
    theatre: ActorRenderer,
    beams: Beams,
    origins,
    directions,
    end_s: float,
    hits: Hits,
) -> Moving | None:
    """Replace the hits that actors are nearer than; the actors as rays met them.

    An actor's frame is that of each ray's own time, its gait that of the mean of these times.
    """
    chosen = theatre.near(end_s)
    if not len(chosen):
        return None
    times_s = np.full(len(theatre.actors), end_s - 0.5 * TURN_S)
    first, last = (theatre.centres(t) for t in (end_s - TURN_S, end_s))
    centre, travel_m = 0.5 * (first + last), np.linalg.norm(last - first, axis=1)
    radius_m = 0.5 * np.linalg.norm(theatre.own_high - theatre.own_low, axis=1) + travel_m + 0.05
    rays = {}
    for i in chosen:
        rows = rays_near(origins, directions, hits.range_m, centre[i], radius_m[i])
        if len(rows):
            rays[int(i)], times_s[i] = rows, beams.column_s[beams.column[rows]].mean()
    moving = theatre.moving_at(times_s, chosen)
    for thing, rows in rays.items():
        trajectory = theatre.actors[thing].trajectory
        column = beams.column[rows]
        first_column = column.min()
        frames = trajectory.world_T_ego_at(beams.column_s[first_column : column.max() + 1])
        own_origins, own_directions = np.empty((2, len(rows), 3), np.float32)
        turn_rays(
            rows, origins, directions, column - first_column, frames, own_origins, own_directions
        )
        scene, first = moving.own_scene(thing), int(theatre.first_triangle[thing])
        cast_one(scene, thing, first, rows, own_origins, own_directions, hits)
        if trajectory is world.ego:
            hits.kind[hits.actor == thing] = 0  # the own bonnet gives no points
    return moving


def _echo(found, directions) -> Float[np.ndarray, "n"]:
    """Strength of the echo: albedo and angle, weak from glass, glossy paint and far away."""
    facing = np.abs(np.einsum("nc,nc->n", found.normal, directions))
    albedo = found.colour.mean(1)
    glossy = (found.material == Material.GLASS) | (found.material == Material.HEADLIGHT)
    paint = found.material == Material.PAINT
    power = (0.25 + albedo) * np.where(paint, facing**2 + 0.15, facing**0.5)
    power = np.where(glossy, 0.12 * facing**2 + 0.02, power)
    return power * np.clip(1.4 - found.range_m / 80.0, 0.05, 1.0) * 2.2
