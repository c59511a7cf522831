"""Spawns traffic: the ego car's trajectory, other vehicles and pedestrians."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets import asset_library
from driv3r.simulator.assets.mesh import Mesh
from driv3r.simulator.scene.parking import EGO_BACK_M, EGO_FRONT_M
from driv3r.simulator.scene.road import LANE_M, Road
from driv3r.simulator.scene.street_grid import STOP_BACK_M, Signals, Streets, turning_road
from driv3r.simulator.scene.trajectories import (
    Actor,
    TrafficFlow,
    Trajectory,
    simulate_flow,
    trajectory_along,
)

JAM = 0.18
RUN_MPS = 3.0  # who would have to go faster does not cross
TURN_RADPS = 0.42  # how fast the car turns at a crossing
ASIDE_M, SWAY_M = 0.58, 0.12  # how far the ego car keeps from its lane's middle, and sways
JAM_REACH_M = (-50.0, 110.0)  # where a lane beside the ego car stands still, if one does


@dataclass(frozen=True, eq=False)
class Traffic:
    """The ego car's trajectory and all actors."""

    ego: Trajectory
    actors: tuple[Actor, ...]


@dataclass(frozen=True, eq=False)
class LaneTraffic:
    """One direction of a road: lateral places of its lanes, its lights, and whether s falls.

    `jam` is the chance of a lane that the ego car does not use to be a queue that hardly moves.
    """

    road: Road
    d: tuple[float, ...]
    stop_m: Float[np.ndarray, "j"]
    red: np.ndarray
    backwards: bool
    desired_mps: tuple[float, float]
    spacing_m: float
    reach_m: tuple[float, float]
    keep_clear: tuple[tuple[float, float], ...] = ()
    jam: float = 0.0


@dataclass(frozen=True, eq=False)
class EgoPlan:
    """The ego car's plan: lane offset, desired speed, turn, and road."""

    d: float
    desired_mps: float
    road: Road
    turn_m: float = np.inf
    turn_mps: float = 4.0
    lane_change_m: float = 0.0


def span(*phases: Mesh) -> tuple[float, float, float]:
    """Length, width and height of a thing over its phases."""
    low = np.min([mesh.vertices.min(0) for mesh in phases], axis=0)
    high = np.max([mesh.vertices.max(0) for mesh in phases], axis=0)
    length, width, height = (high - low).tolist()
    return length, width, height


def choose_vehicle(rng: np.random.Generator) -> tuple[str, Mesh]:
    """A car, mostly, with its category."""
    kind = rng.random()
    if kind < 0.78:
        return "vehicle.car", asset_library.car(int(rng.integers(asset_library.CARS)))
    if kind < 0.95:
        return asset_library.heavy_vehicle(int(rng.integers(asset_library.HEAVIES)))
    return "vehicle.motorcycle", asset_library.motorcycle(int(rng.integers(asset_library.CYCLISTS)))


@dataclass(frozen=True, eq=False)
class Queue:
    """Cars of a direction before they drive: None is the ego car. Rows as in Flow."""

    vehicles: list[tuple[str, Mesh] | None]
    start_m: list[float]
    desired_mps: list[float]
    leader: list[int]
    d: list[float]

    def reach(self, end: int) -> Float[np.ndarray, "n"]:
        """How far each reaches before (end 1) or behind (end -1) its position."""
        own = {1: EGO_FRONT_M, -1: EGO_BACK_M}[end]
        sides = [
            own if v is None else float((end * v[1].vertices[:, 0]).max()) for v in self.vehicles
        ]
        return np.array(sides)


def spawn_queue(rng: np.random.Generator, lanes: LaneTraffic, plan: EgoPlan | None) -> Queue:
    """Place cars lane by lane, foremost first; with a plan the ego car at s = 0 among them."""
    queue = Queue([], [], [], [], [])
    for d in lanes.d:
        spacing, reach = rng.uniform(0.5, 2.0) * lanes.spacing_m, lanes.reach_m
        own = plan is not None and abs(d - plan.d) < 1.0
        changes = plan is not None and plan.lane_change_m != 0
        pace = plan.desired_mps if plan and changes else float(rng.uniform(*lanes.desired_mps))
        if not own and not changes and rng.random() < lanes.jam:
            spacing, pace, reach = float(rng.uniform(0.2, 1.5)), 0.0, _jam_reach(lanes)
        clear = [*lanes.keep_clear, *([(-16.0, 18.0)] if changes and not own else [])]
        s, leader, placed = reach[1] - rng.uniform(0, spacing), -1, not own
        while s > reach[0] or not placed:
            vehicle = choose_vehicle(rng)
            back, front = (float((k * vehicle[1].vertices[:, 0]).max()) for k in (-1, 1))
            if not placed and s - back < EGO_FRONT_M + 3:
                _append(queue, None, 0.0, plan.desired_mps if plan else pace, leader, d)
                leader, placed = len(queue.d) - 1, True
                s = -EGO_BACK_M - 3 - front - rng.exponential(0.5 * spacing)
            if not any(a - back <= s <= b + front for a, b in clear):
                wish = pace * rng.uniform(0.9, 1.1)
                _append(queue, vehicle, s, wish, leader, d)
                leader = len(queue.d) - 1
            s -= back + front + (3.0 if pace else 1.2) + rng.exponential(spacing)
    return queue


def _jam_reach(lanes: LaneTraffic) -> tuple[float, float]:
    """The stretch of s in which a lane stands still, as its own direction counts s."""
    low, high = JAM_REACH_M
    return (-high, -low) if lanes.backwards else (low, high)


def _append(
    queue: Queue, vehicle, start_m: float, desired_mps: float, leader: int, d: float
) -> None:
    queue.vehicles.append(vehicle)
    queue.start_m.append(start_m)
    queue.desired_mps.append(desired_mps)
    queue.leader.append(leader)
    queue.d.append(d)


def simulate_lanes(
    rng: np.random.Generator,
    lanes: LaneTraffic,
    time_s: Float[np.ndarray, "t"],
    plan: EgoPlan | None = None,
) -> tuple[list[Actor], Trajectory | None]:
    """Cars of one direction; with a plan the ego car is among them, from s = 0 on."""
    queue = spawn_queue(rng, lanes, plan)
    if not queue.d:
        return [], None
    turn_m = [plan.turn_m if plan and v is None else np.inf for v in queue.vehicles]
    flow = TrafficFlow(
        np.array(queue.start_m), np.array(queue.desired_mps), np.array(queue.leader), lanes.stop_m,
        lanes.red, np.array(turn_m), queue.reach(1), queue.reach(-1),
        plan.turn_mps if plan else 4.0,
    )  # fmt: skip
    progress = simulate_flow(flow, time_s)
    actors, ego = [], None
    for i, vehicle in enumerate(queue.vehicles):
        s = progress[:, i]
        if vehicle is None:
            assert plan is not None
            ego = _ego_trajectory(rng, plan, time_s, s)
            continue
        d = np.full(len(s), queue.d[i]) + 0.12 * np.sin(s * 0.05 + queue.start_m[i])
        trajectory = trajectory_along(
            lanes.road, time_s, -s if lanes.backwards else s, d, lanes.backwards
        )
        category, mesh = vehicle
        actors.append(Actor(category, (mesh,), trajectory, span(mesh), has_headlights=True))
    return actors, ego


def _ego_trajectory(rng: np.random.Generator, plan: EgoPlan, time_s, s) -> Trajectory:
    """The ego car on its path: left or right of the middle, sways, changes lane where planned."""
    sway = SWAY_M * np.sin(s * rng.uniform(0.03, 0.1) + rng.uniform(0, 6))
    aside = float(np.clip(rng.normal(0, 0.35), -ASIDE_M, ASIDE_M))
    d = aside + sway + (0.0 if np.isfinite(plan.turn_m) else plan.d)
    if plan.lane_change_m:
        start_m = s[-1] * rng.uniform(0.0, 0.5)
        ease = np.clip((s - start_m) / max(3.5 * plan.desired_mps, 25.0), 0, 1)
        d = d + plan.lane_change_m * ease**2 * (3 - 2 * ease)
    return trajectory_along(plan.road, time_s, s, d)


def populate_road(rng: np.random.Generator, road: Road, time_s, top_mps: float, stops) -> Traffic:
    """Traffic both ways on one road; `stops` are (position, red over time) of its crossings."""
    style, duration_s = road.style, float(time_s[-1])
    lanes_d = tuple(-(k + 0.5) * LANE_M for k in range(style.lanes))
    own = int(rng.integers(style.lanes))
    change = 0.0
    if style.lanes > 1 and rng.random() < 0.3:
        change = LANE_M * (-1.0 if own + 1 < style.lanes and own == 0 else 1.0)
    plan = EgoPlan(lanes_d[own], float(rng.uniform(0.4, 1.0)) * top_mps, road, lane_change_m=change)
    stop_m, red = stops
    wish, ahead = (0.5 * top_mps, top_mps), 190.0
    jam = 0.0 if top_mps > 20 else JAM
    forth = LaneTraffic(
        road, lanes_d, stop_m - STOP_BACK_M, red, False, wish, 28.0, (-90.0, ahead), jam=jam
    )
    actors, ego = simulate_lanes(rng, forth, time_s, plan)
    back = LaneTraffic(
        road, tuple(-d for d in lanes_d), np.sort(-stop_m - STOP_BACK_M), red[:, ::-1], True, wish,
        28.0, (-ahead - top_mps * duration_s, 90.0), jam=jam,
    )  # fmt: skip
    actors += simulate_lanes(rng, back, time_s)[0]
    assert ego is not None
    return Traffic(ego, tuple(actors))


def populate_streets(
    rng: np.random.Generator, streets: Streets, signals: Signals, time_s, top_mps: float
) -> Traffic:
    """Traffic on a grid of streets; the ego car goes straight on or turns at a crossing."""
    main, half = streets.main, streets.terrain.cross_half_m
    lanes_d = tuple(-(k + 0.5) * LANE_M for k in range(main.style.lanes))
    ahead = np.flatnonzero(streets.cross_m > half + 12)
    junction = int(ahead[0]) if len(ahead) else -1
    turn, red = rng.random(), signals.main.copy()
    own, road, turn_m, radius_m = int(rng.integers(len(lanes_d))), main, np.inf, 10.0
    oncoming = red.copy()
    if turn < 0.45 and junction >= 0:
        left = turn < 0.22
        own = 0 if left else len(lanes_d) - 1
        road, turn_m, radius_m = turning_road(streets, junction, lanes_d[own], left)
        oncoming[:, junction] |= left
        red[:, junction] &= rng.random() < 0.3
    desired_mps = float(rng.uniform(0.45, 1.0)) * top_mps
    plan = EgoPlan(lanes_d[own], desired_mps, road, turn_m, TURN_RADPS * radius_m)
    wish = (0.5 * top_mps, top_mps)
    clear = tuple((float(x) - half - 6, float(x) + half + 3) for x in streets.cross_m)
    back_clear = tuple((-b, -a) for a, b in clear)
    line_m = streets.cross_m - half - STOP_BACK_M
    forth = LaneTraffic(main, lanes_d, line_m, red, False, wish, 22.0, (-90.0, 190.0), clear, JAM)
    actors, ego = simulate_lanes(rng, forth, time_s, plan)
    line_m = -streets.cross_m - half - STOP_BACK_M
    back = LaneTraffic(
        main, tuple(-d for d in lanes_d), line_m, oncoming, True, wish, 22.0,
        (-190.0 - top_mps * float(time_s[-1]), 90.0), back_clear, JAM,
    )  # fmt: skip
    actors += simulate_lanes(rng, back, time_s)[0]
    for k, cross in enumerate(streets.cross):
        actors += _cross_traffic(rng, streets, cross, signals.cross[:, k : k + 1], time_s, top_mps)
    assert ego is not None
    return Traffic(ego, tuple(actors))


def _cross_traffic(rng, streets: Streets, road: Road, red, time_s, top_mps: float) -> list[Actor]:
    lanes_d = tuple(-(k + 0.5) * LANE_M for k in range(road.style.lanes))
    half = streets.terrain.half_m
    stop, out = np.array([-half - STOP_BACK_M]), []
    for backwards in (False, True):
        lanes = LaneTraffic(
            road, tuple(-d for d in lanes_d) if backwards else lanes_d, stop, red, backwards,
            (0.5 * top_mps, 0.9 * top_mps), 26.0, (-100.0, 60.0), ((-half - 6, half + 3),),
        )  # fmt: skip
        out += simulate_lanes(rng, lanes, time_s)[0]
    return out


def _gait(rng: np.random.Generator, cyclist: bool) -> tuple[str, tuple[Mesh, ...], float]:
    if cyclist:
        phases = asset_library.cyclist(int(rng.integers(asset_library.CYCLISTS)))
        return "vehicle.bicycle", phases, float(rng.uniform(3, 6))
    if rng.random() < 0.15:
        mesh = asset_library.stander(int(rng.integers(asset_library.PEOPLE)))
        return "human.pedestrian.adult", (mesh,), 0.0
    phases = asset_library.walker(int(rng.integers(asset_library.PEOPLE)))
    return "human.pedestrian.adult", phases, float(rng.uniform(0.7, 1.8))


def walk_along(rng: np.random.Generator, road: Road, time_s, reach_m, spacing_m) -> Iterator[Actor]:
    """People on both pavements and cyclists beside the kerb."""
    half, pave = road.style.half_width_m, road.style.pavement_m
    for side in (-1, 1):
        s0 = reach_m[0]
        while (s0 := s0 + 2 + rng.exponential(spacing_m)) < reach_m[1]:
            cyclist = bool(rng.random() < 0.12)
            category, phases, pace = _gait(rng, cyclist)
            backwards = bool(side > 0) if cyclist else bool(rng.random() < 0.5)
            beside = -0.3 - road.style.parking_m  # of the kerb, or of the parked cars
            offset = beside if cyclist else rng.uniform(0.5, max(pave - 0.3, 0.7))
            s = s0 + (-1 if backwards else 1) * pace * time_s
            d = np.full_like(s, side * (half + offset))
            trajectory = trajectory_along(road, time_s, s, d, backwards, 0.4)
            stride_m = 5.0 if cyclist else 1.45
            yield Actor(category, phases, trajectory, span(*phases), stride_m)


def walk_across(rng: np.random.Generator, road: Road, s_m: float, red, time_s) -> Iterator[Actor]:
    """People over a crossing at `s_m`, on it only while the cars' light is red; some hurry."""
    turns = np.flatnonzero(red & ~np.r_[False, red[:-1]])
    half = road.style.half_width_m + 1.0
    for turn in turns:
        start, ends = time_s[turn], np.flatnonzero(~red[turn:])
        end = time_s[turn + ends[0]] if len(ends) else np.inf
        for _ in range(int(rng.integers(0, 5))):
            phases = asset_library.walker(int(rng.integers(asset_library.PEOPLE)))
            pace, way = float(rng.uniform(1.0, 1.7)), float(rng.choice([-1, 1]))
            # after the cars that could no longer stop
            begin = start + 2.5 + rng.uniform(0, 3)
            pace = max(pace, 2 * half / max(end - begin, 0.1))
            if pace > RUN_MPS:
                continue
            d = way * (np.clip((time_s - begin) * pace, 0, 2 * half) - half)
            s = np.full_like(d, s_m + rng.uniform(-1.2, 1.2))
            here = road.surface(s, d)
            side = road.surface(s, d + way * 0.2) - road.surface(s, d - way * 0.2)
            left = np.cross(np.array([0.0, 0, 1.0]), side)
            trajectory = Trajectory(time_s, here, side, left)
            yield Actor("human.pedestrian.adult", phases, trajectory, span(*phases), 1.45)
