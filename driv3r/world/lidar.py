"""A spinning LiDAR: 32 beams, one turn in 50 ms, points compensated to the turn's end.

The sensor turns clockwise from behind the car. What stands still is right after compensation by the
car's own motion; what moves stays distorted by it, as in real recordings.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from driv3r.geometry.transforms import invert
from driv3r.world.casting import ACTOR, Hits, Surfaces, cast, find
from driv3r.world.mesh import Material
from driv3r.world.rig import EGO_T_LIDAR, TURN_S
from driv3r.world.scene import World
from driv3r.world.stage import FIRST_ACTOR_INSTANCE, Stage, Theatre

BEAMS, COLUMNS = 32, 1084
ELEVATION_DEG = (-30.67, 10.67)
RANGE_M = (1.0, 100.0)
NOISE_M = 0.015
DIVERGENCE_RAD = 0.0012
SLICES = 6  # of a turn: actors are built once a slice, then each ray is moved to its own time


@dataclass(frozen=True, eq=False)
class Scan:
    """One sweep in the sensor's frame at the turn's end; intensity in 0..255, ring from below."""

    points_lidar: Float32[np.ndarray, "n 3"]
    intensity: Float32[np.ndarray, "n"]
    ring: Int[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Beams:
    """All rays of a turn: azimuth (ego, left positive), time, direction in the sensor's frame."""

    time_s: Float[np.ndarray, "n"]
    directions_lidar: Float[np.ndarray, "n 3"]
    ring: Int[np.ndarray, "n"]


def make_beams(end_s: float) -> Beams:
    """The rays of the turn that ends at a time."""
    elevation = np.radians(np.linspace(*ELEVATION_DEG, BEAMS))[:, None]
    share = (np.arange(COLUMNS) + 0.5)[None] / COLUMNS  # of the turn, clockwise from behind
    azimuth_ego = np.pi - 2 * np.pi * share
    flat = np.cos(elevation)
    directions_ego = np.stack(
        [flat * np.cos(azimuth_ego), flat * np.sin(azimuth_ego), np.sin(elevation) + 0 * share], -1
    ).reshape(-1, 3)
    time_s = np.broadcast_to(end_s - TURN_S * (1 - share), (BEAMS, COLUMNS)).reshape(-1)
    ring = np.repeat(np.arange(BEAMS), COLUMNS)
    return Beams(time_s, directions_ego @ EGO_T_LIDAR[:3, :3], ring)


def scan(world: World, still: Surfaces, theatre: Theatre, end_s: float) -> Scan:
    """One sweep: range noise, weak returns lost, a few false points between near and far."""
    rng = np.random.default_rng([world.seed, 77, int(end_s * 1e6) & 0xFFFFFFF])
    beams = make_beams(end_s)
    range_m, power = _measure(world, still, theatre, beams, beams.directions_lidar)
    aside = beams.directions_lidar + rng.normal(0, DIVERGENCE_RAD, beams.directions_lidar.shape)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    other_m, _ = _measure(world, still, theatre, beams, aside)
    at_edge = np.isfinite(other_m) & (np.abs(other_m - range_m) > 0.08 * range_m)
    pick = rng.random(len(range_m))
    range_m = np.where(at_edge & (pick < 0.25), other_m, range_m)
    range_m = np.where(at_edge & (pick > 0.96), 0.5 * (range_m + other_m), range_m)
    keep = np.isfinite(range_m) & (range_m > RANGE_M[0]) & (range_m < RANGE_M[1])
    keep &= rng.random(len(keep)) < np.clip(1.25 - 0.25 / np.maximum(power, 0.02), 0.02, 0.985)
    range_m = range_m + rng.normal(0, NOISE_M, len(range_m))
    world_T_lidar = world.ego.world_T_ego_at(beams.time_s[keep]) @ EGO_T_LIDAR
    points = np.einsum("nij,nj->ni", world_T_lidar[:, :3, :3], beams.directions_lidar[keep])
    points = points * range_m[keep, None] + world_T_lidar[:, :3, 3]
    end_T_world = invert(world.ego.world_T_ego(end_s) @ EGO_T_LIDAR)
    points_lidar = points @ end_T_world[:3, :3].T + end_T_world[:3, 3]
    intensity = np.clip(power[keep] * 90 * rng.uniform(0.8, 1.2, int(keep.sum())), 0, 255)
    return Scan(points_lidar.astype(np.float32), intensity.astype(np.float32), beams.ring[keep])


def _measure(world: World, still: Surfaces, theatre: Theatre, beams: Beams, directions_lidar):
    """Range (NaN: none) of rays, each at its own time, and the strength of its echo."""
    world_T_lidar = world.ego.world_T_ego_at(beams.time_s) @ EGO_T_LIDAR
    origins = world_T_lidar[:, :3, 3]
    directions = np.einsum("nij,nj->ni", world_T_lidar[:, :3, :3], directions_lidar)
    range_m, power = np.full(len(origins), np.nan), np.zeros(len(origins))
    edges = np.linspace(beams.time_s.min() - 1e-6, beams.time_s.max() + 1e-6, SLICES + 1)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        rows = np.flatnonzero((beams.time_s >= first) & (beams.time_s < last))
        middle_s = round(0.5 * (first + last), 6)
        stage = theatre.at(middle_s)
        hits = cast(still, stage.surfaces, origins[rows], directions[rows])
        _move_to_own_time(hits, world, stage, theatre, middle_s, beams.time_s[rows], origins[rows],
                          directions[rows])  # fmt: skip
        found = find(
            hits, origins[rows], directions[rows], still, stage.surfaces, stage.world_T_actor,
            FIRST_ACTOR_INSTANCE,
        )  # fmt: skip
        seen = hits.kind > 0
        range_m[rows[seen]] = hits.range_m[seen]
        power[rows[seen]] = _echo(found, directions[rows])[seen]
    return range_m, power


def _move_to_own_time(
    hits: Hits, world, stage: Stage, theatre, middle_s, time_s, origins, directions
):
    """Correct hits on actors: cast anew with the ray as the actor sees it at the ray's time."""
    rows = np.flatnonzero(hits.kind == ACTOR)
    if not len(rows) or stage.surfaces is None:
        return
    own = stage.surfaces.corners.instance[hits.triangle[rows]]
    mine = np.array([world.actors[i - FIRST_ACTOR_INSTANCE].drive is world.ego for i in own])
    hits.kind[rows[mine]] = 0  # the own bonnet gives no points
    rows, own = rows[~mine], own[~mine]
    stage_T_own = np.empty((len(rows), 4, 4))
    for instance in np.unique(own):
        here = own == instance
        drive = world.actors[instance - FIRST_ACTOR_INSTANCE].drive
        at_ray = drive.world_T_ego_at(time_s[rows[here]])
        stage_T_own[here] = drive.world_T_ego(middle_s) @ invert(at_ray)
    turned = np.einsum("nij,nj->ni", stage_T_own[:, :3, :3], directions[rows])
    moved = np.einsum("nij,nj->ni", stage_T_own[:, :3, :3], origins[rows]) + stage_T_own[:, :3, 3]
    again = cast(stage.surfaces, None, moved, turned)
    same = again.kind > 0
    same[same] &= stage.surfaces.corners.instance[again.triangle[same]] == own[same]
    hits.range_m[rows[same]] = again.range_m[same]
    hits.kind[rows[~same]] = 0


def _echo(found, directions) -> Float[np.ndarray, "n"]:
    """Strength of the echo: albedo and angle, weak from glass, glossy paint and far away."""
    facing = np.abs(np.einsum("nc,nc->n", found.normal, directions))
    albedo = found.colour.mean(1)
    glossy = (found.material == Material.GLASS) | (found.material == Material.HEADLIGHT)
    paint = found.material == Material.PAINT
    power = (0.25 + albedo) * np.where(paint, facing**2 + 0.15, facing**0.5)
    power = np.where(glossy, 0.12 * facing**2 + 0.02, power)
    return power * np.clip(1.4 - found.range_m / 80.0, 0.05, 1.0) * 2.2
