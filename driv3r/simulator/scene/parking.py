"""Cars that stand at the kerb: rows of them, how they stand, and who keeps clear of the ego car."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from driv3r.geometry.transforms import invert
from driv3r.simulator.assets import asset_library
from driv3r.simulator.assets.mesh import Material, Mesh, at
from driv3r.simulator.scene.road import Road
from driv3r.simulator.scene.trajectories import Actor, Trajectory, stand_at, trajectory_along

LONGEST_M = 6.5  # who is longer does not park at the kerb
EGO_FRONT_M, EGO_BACK_M, EGO_HALF_M = 3.8, 1.1, 0.95  # about the rear axle, where its frame is


@dataclass(frozen=True)
class Habit:
    """How a street parks: gaps (metres, least and mean beyond it), shares of the odd ones."""

    gap_m: tuple[float, float]
    free: float
    vans: float
    askew: float
    on_kerb: float
    lit: float


def make_habit(rng: np.random.Generator) -> Habit:
    """Nearly closed rows mostly, or loose ones."""
    closed = rng.random() < 0.6
    gap_m = (0.6, float(rng.uniform(0.1, 0.5))) if closed else (0.7, float(rng.uniform(1.5, 14.0)))
    free = float(rng.uniform(0.0, 0.12) if closed else rng.uniform(0.0, 0.5))
    return Habit(
        gap_m, free, float(rng.uniform(0.0, 0.25)), float(rng.choice([0.0, 0.1, 0.3])),
        float(rng.choice([0.0, 0.0, 0.1, 0.8])), 0.06,
    )  # fmt: skip


def choose_parked(rng: np.random.Generator, vans: float) -> tuple[str, Mesh]:
    """A car or pickup, or with the chance `vans` a van, that a kerb has room for."""
    while True:
        if rng.random() < vans:
            category, mesh = asset_library.heavy_vehicle(int(rng.integers(asset_library.HEAVIES)))
        else:
            category, mesh = "vehicle.car", asset_library.car(int(rng.integers(asset_library.CARS)))
        if np.ptp(mesh.vertices[:, 0]) <= LONGEST_M:
            return category, mesh


def park_along(
    rng: np.random.Generator, road: Road, side: int, s_range: tuple[float, float], time_s
) -> Iterator[Actor]:
    """Cars in the parking strip of one side, each as far from the next as their lengths ask."""
    habit = make_habit(rng)
    s, last = s_range[0] + rng.uniform(0, 3), s_range[1]
    while True:
        category, mesh = choose_parked(rng, habit.vans)
        length, width = np.ptp(mesh.vertices[:, :2], axis=0).tolist()
        if s + length > last:
            return
        turned = bool(side > 0) != bool(rng.random() < 0.05)
        low, high = mesh.vertices[:, 0].min(), mesh.vertices[:, 0].max()
        middle = s + (float(high) if turned else -float(low))
        askew = (
            float(np.clip(rng.normal(0, 0.06), -0.1, 0.1)) if rng.random() < habit.askew else 0.0
        )
        out = -0.28 if rng.random() < habit.on_kerb else abs(rng.normal(0.08, 0.08))
        d = side * (road.style.half_width_m - 0.5 * width - out)
        if rng.random() >= habit.free:
            lit = bool(rng.random() < habit.lit)
            yield parked_car(rng, mesh, road, middle, d, turned, time_s, askew, category, lit)
        s += length + habit.gap_m[0] + min(rng.exponential(habit.gap_m[1]), 30.0)


def parked_car(
    rng, mesh: Mesh, road: Road, s, d, turned: bool, time_s, turn=0.0,
    category: str = "vehicle.car", lit: bool = False,
) -> Actor:  # fmt: skip
    """A still car at (s, d) of a road, nearly parallel to it, or turned from that."""
    still = np.full(len(time_s), float(s))
    trajectory = trajectory_along(road, time_s, still, np.full(len(time_s), float(d)), turned)
    frame = trajectory.world_T_ego(0.0)
    # a car with two wheels on the pavement leans, and its middle lies half a kerb higher
    sides = road.surface(np.full(2, float(s)), d + np.array([0.8, -0.8]))
    frame[2, 3] = max(frame[2, 3], float(sides[:, 2].mean()))
    frame = frame @ at(0.0, 0.0, 0.0, turn + np.clip(rng.normal(0, 0.02), -0.04, 0.04))
    shape = mesh if lit else switch_off(mesh)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    length, width, height = (high - low).tolist()
    return Actor(category, (shape,), stand_at(frame, time_s), (length, width, height))


def switch_off(mesh: Mesh) -> Mesh:
    """The mesh with lamps that do not shine."""
    dark = {Material.HEADLIGHT: Material.GLASS, Material.TAILLIGHT: Material.PLAIN}
    material = mesh.material.copy()
    for lit, unlit in dark.items():
        material[mesh.material == lit] = unlit
    return replace(mesh, material=material)


def clearance_m(ego: Trajectory, actor: Actor) -> Float[np.ndarray, "n"]:
    """Metres between the ego car's box and an actor's circles over the actor's time samples.

    The actor is a row of circles as wide as it, so that a turned one is not taken for a wide one.
    """
    length, width = actor.size_lwh_m[:2]
    middle = 0.5 * (actor.phases[0].vertices[:, 0].min() + actor.phases[0].vertices[:, 0].max())
    reach = max(0.5 * (length - width), 0.0)
    along = middle + np.linspace(-reach, reach, max(int(np.ceil(2 * reach / 0.5)), 1) + 1)
    points = np.stack([along, 0 * along, 0 * along, 0 * along + 1])
    ego_T_world = invert(ego.world_T_ego_at(actor.trajectory.time_s))
    own = (ego_T_world @ actor.trajectory.world_T_ego_at(actor.trajectory.time_s) @ points)[:, :2]
    beyond_x = np.maximum(own[:, 0] - EGO_FRONT_M, -EGO_BACK_M - own[:, 0])
    beyond_y = np.abs(own[:, 1]) - EGO_HALF_M
    inside = np.minimum(np.maximum(beyond_x, beyond_y), 0.0)
    away = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0)) + inside
    return away.min(-1) - 0.5 * width


def keep_clear(ego: Trajectory, actors: list[Actor], margin_m: float) -> list[Actor]:
    """Those of the actors that the ego car never comes nearer to than the margin."""
    out = []
    for actor in actors:
        away_m = np.linalg.norm(actor.trajectory.origin - ego.origin, axis=1).min()
        far = away_m > EGO_FRONT_M + 2 + actor.size_lwh_m[0]
        if far or clearance_m(ego, actor).min() > margin_m:
            out.append(actor)
    return out
