"""A whole world from a seed: street, light, ego drive and traffic."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.geometry.transforms import make_transform
from driv3r.world import things
from driv3r.world.mesh import Material, Mesh, at, box, join, place
from driv3r.world.road import LANE_M, Road, RoadStyle, make_ground, make_road

KINDS = ("city", "suburb", "highway")


@dataclass(frozen=True, eq=False)
class Light:
    """Sun, sky and air of one world, packed for the shading kernel."""

    packed: Float[np.ndarray, "16"]

    @property
    def sun_direction(self) -> Float[np.ndarray, "3"]:
        """Unit vector towards the sun."""
        return self.packed[:3]


@dataclass(frozen=True, eq=False)
class Drive:
    """A path in road coordinates over time: (s, d), seconds from the log's start."""

    road: Road
    time_s: Float[np.ndarray, "n"]
    s: Float[np.ndarray, "n"]
    d: Float[np.ndarray, "n"]
    backwards: bool = False
    lift_m: float = 0.0

    def world_T_ego(self, time_s: float) -> Float[np.ndarray, "4 4"]:
        """The vehicle's frame: on the ground, x along its motion."""
        s, d = np.interp(time_s, self.time_s, self.s), np.interp(time_s, self.time_s, self.d)
        ahead = 1.4 * (-1 if self.backwards else 1)
        slip = np.interp(time_s + 0.1, self.time_s, self.d) - np.interp(
            time_s - 0.1, self.time_s, self.d
        )
        travel = np.interp(time_s + 0.1, self.time_s, self.s) - np.interp(
            time_s - 0.1, self.time_s, self.s
        )
        turn = slip / travel * ahead if abs(travel) > 0.05 else 0.0
        rear = self.road.surface(s - ahead, d - turn)
        front = self.road.surface(s + ahead, d + turn)
        left = self.road.surface(s, d + 0.8) - self.road.surface(s, d - 0.8)
        x = (front - rear) / np.linalg.norm(front - rear)
        y = left * (-1 if self.backwards else 1)
        y = y - x * (x @ y)
        y /= np.linalg.norm(y)
        origin = self.road.surface(s, d) + (0, 0, self.lift_m)
        return make_transform(np.stack([x, y, np.cross(x, y)], -1), origin)


@dataclass(frozen=True, eq=False)
class Actor:
    """A thing that may move: one mesh a gait phase, its drive, its box."""

    category: str
    phases: tuple[Mesh, ...]
    drive: Drive
    size_lwh_m: tuple[float, float, float]
    gait_hz: float = 0.0

    def mesh_at(self, time_s: float) -> Mesh:
        """The mesh in its own frame at a time."""
        return self.phases[int(time_s * self.gait_hz * len(self.phases)) % len(self.phases)]

    def speed_mps(self, time_s: float) -> float:
        """Speed along the road."""
        around = np.interp([time_s - 0.05, time_s + 0.05], self.drive.time_s, self.drive.s)
        return float(abs(around[1] - around[0]) / 0.1)


@dataclass(frozen=True, eq=False)
class World:
    """Everything that can be seen or driven in one generated log."""

    seed: int
    kind: str
    road: Road
    static: Mesh
    actors: tuple[Actor, ...]
    ego: Drive
    light: Light

    @property
    def road_parameters(self) -> Float[np.ndarray, "5"]:
        """What the road shader needs: lanes, half width, yellow, parking, crossing period."""
        style = self.road.style
        crossing = 1e9 if self.kind == "highway" else 85.0 + 7.0 * (self.seed % 9)
        yellow = float(style.yellow_centre)
        return np.array([style.lanes, style.half_width_m, yellow, style.parking_m, crossing])


def make_world(seed: int, duration_s: float) -> World:
    """The world of a seed; the same seed gives the same world on every machine."""
    rng = np.random.default_rng([seed, 3])
    kind = KINDS[int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
    style = _choose_style(rng, kind)
    top_mps = {"city": 13.0, "suburb": 15.0, "highway": 27.0}[kind]
    road = make_road(rng, style, top_mps * duration_s + 30)
    ego = _drive_ego(rng, road, top_mps, duration_s)
    static = join([make_ground(rng, road), join(_furnish(rng, road, kind), 1)])
    actors = tuple(_make_traffic(rng, road, kind, ego))
    return World(seed, kind, road, static, actors, ego, _make_light(rng))


def _choose_style(rng: np.random.Generator, kind: str) -> RoadStyle:
    lanes = {"city": int(rng.integers(1, 3)), "suburb": 1, "highway": int(rng.integers(2, 4))}[kind]
    parking = 2.4 if kind != "highway" and rng.random() < 0.75 else 0.0
    pavement = 0.5 if kind == "highway" else float(rng.uniform(1.8, 4.5))
    grass = kind == "highway" or rng.random() < (0.35 if kind == "city" else 0.9)
    return RoadStyle(lanes, parking, pavement, bool(rng.random() < 0.5), bool(grass))


def _make_light(rng: np.random.Generator) -> Light:
    """Sunny, hazy, overcast or dusk."""
    mood = int(rng.choice(4, p=[0.45, 0.2, 0.25, 0.1]))
    elevation = np.radians(rng.uniform(*((18, 65), (15, 50), (60, 85), (4, 14))[mood]))
    azimuth = rng.uniform(0, 2 * np.pi)
    direction = [
        np.cos(elevation) * np.cos(azimuth),
        np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
    ]
    sun = np.array([[2.6, 2.4, 2.1], [1.5, 1.4, 1.2], [0.25, 0.25, 0.25], [1.3, 0.8, 0.45]][mood])
    zenith = np.array([[0.25, 0.42, 0.75], [0.4, 0.5, 0.65], [0.75, 0.78, 0.8], [0.12, 0.2, 0.4]])
    horizon = np.array(
        [[0.75, 0.85, 0.95], [0.8, 0.83, 0.86], [0.85, 0.87, 0.88], [0.6, 0.42, 0.3]]
    )
    haze = rng.uniform(0.0, (0.0015, 0.006, 0.003, 0.003)[mood])
    wet = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.15 else 0.0
    cloud = (rng.uniform(0, 0.5), 0.5, 0.9, 0.4)[mood]
    tint = 1 + rng.normal(0, 0.05, 3)
    return Light(
        np.array(
            [
                *direction,
                *(sun * tint),
                *(zenith[mood] * tint),
                *horizon[mood],
                haze,
                wet,
                cloud,
                rng.uniform(0, 50),
            ]
        )
    )


def _drive_ego(rng, road: Road, top_mps: float, duration_s: float) -> Drive:
    """Cruise, brake, stand or change lane."""
    t = np.arange(-1.0, duration_s + 1.5, 0.02)
    speed = rng.uniform(0.35, 0.95) * top_mps + rng.normal(0, 0.12) * top_mps * np.sin(
        t * rng.uniform(0.2, 0.9) + rng.uniform(0, 6)
    )
    if rng.random() < 0.15:  # brake to a stand, or start from one
        stop = rng.uniform(0, duration_s)
        speed = np.clip((stop - t) * rng.choice([-1, 1]) * rng.uniform(1.5, 3.0), 0, speed)
    speed = np.clip(speed, 0.0, top_mps)
    s = np.cumsum(speed) * 0.02
    s = s - s[50]
    lane = int(rng.integers(road.style.lanes))
    # Sideways moves follow the distance driven, not the clock: a standing car does not slide.
    d = -(lane + 0.5) * LANE_M + 0.15 * np.sin(s * rng.uniform(0.3, 0.8) / 8.0 + rng.uniform(0, 6))
    if road.style.lanes > 1 and rng.random() < 0.3:
        target = (lane + 1) % road.style.lanes
        start_m = np.interp(rng.uniform(0, duration_s * 0.6), t, s)
        ease = np.clip((s - start_m) / max(3.5 * float(speed.mean()), 25.0), 0, 1)
        d += (lane - target) * LANE_M * ease**2 * (3 - 2 * ease)
    return Drive(road, t, s, d)


def _spots(rng, start: float, stop: float, low: float, high: float):
    """Random places along the road, `low` to `high` metres apart."""
    s = start + rng.uniform(0, high)
    while s < stop:
        yield s
        s += rng.uniform(low, high)


def _stand(road: Road, mesh: Mesh, s: float, d: float, turn: float = 0.0) -> Mesh:
    x, y, z = road.surface(s, d)
    return place(mesh, at(x, y, z, float(road.frame(s)[3]) + turn))


def _furnish(rng: np.random.Generator, road: Road, kind: str) -> list[Mesh]:
    """Everything that stands still beside the road and over it."""
    start, stop = road.start_m + 40, road.start_m + len(road.z) - 40
    half, pave = road.style.half_width_m, road.style.pavement_m
    parts: list[Mesh] = []
    for side in (-1, 1):
        turn = 0.0 if side > 0 else np.pi
        parts += _line_with_buildings(rng, road, kind, side, start, stop)
        gaps = {"city": (8, 25), "suburb": (5, 18), "highway": (10, 45)}[kind]
        for s in _spots(rng, start, stop, *gaps):
            tree = things.make_tree(rng)
            off = pave * rng.uniform(0.3, 0.5) if kind == "city" else pave + rng.uniform(0.5, 9)
            parts.append(_stand(road, tree, s, side * (half + off)))
        for s in _spots(rng, start, stop, 12, 40):
            parts.append(_stand(road, things.make_pole(rng), s, side * (half + 0.4), turn))
        if kind != "city":
            parts += _line_with_green(rng, road, side, start, stop)
        if road.style.parking_m:
            for s in _spots(rng, start, stop, 6, rng.uniform(8, 30)):
                vehicle = things.make_car(rng) if rng.random() < 0.85 else things.make_van(rng)
                angle = turn + rng.normal(0, 0.03)
                parts.append(_stand(road, vehicle, s, side * (half - 1.2), angle))
    if rng.random() < 0.15:
        parts.append(_make_bridge(rng, road))
    return parts


def _line_with_green(rng, road: Road, side: int, start: float, stop: float):
    """Hedges, fences and bushes behind the pavement."""
    edge = road.style.half_width_m + road.style.pavement_m
    for s in _spots(rng, start, stop, 6, 30):
        length = rng.uniform(4, 12)
        make = things.make_hedge if rng.random() < 0.5 else things.make_fence
        yield _stand(road, make(rng, length), s, side * (edge + rng.uniform(0.3, 1.5)))
    for s in _spots(rng, start, stop, 5, 20):
        yield _stand(road, things.make_bush(rng), s, side * (edge + rng.uniform(1, 14)))


def _line_with_buildings(rng, road: Road, kind: str, side: int, start: float, stop: float):
    """Rows of houses with gaps, and a far row behind so that gaps do not show the world's end."""
    half, pave = road.style.half_width_m, road.style.pavement_m
    turn = 0.0 if side > 0 else np.pi
    edge = half + pave
    back = {"city": (0.0, 2.0), "suburb": (4.0, 14.0), "highway": (20.0, 60.0)}[kind]
    tall = {"city": (6.0, 26.0), "suburb": (3.2, 8.5), "highway": (4.0, 18.0)}[kind]
    s = start
    while s < stop:
        width = rng.uniform(8, 26) if kind != "suburb" else rng.uniform(7, 14)
        d = edge + rng.uniform(*back)
        house = things.make_building(rng, width, rng.uniform(8, 16), rng.uniform(*tall))
        yield _stand(road, house, s + width / 2, side * d, turn)
        s += width + (
            rng.uniform(0, 1.5) if rng.random() < 0.6 and kind == "city" else rng.uniform(3, 22)
        )
    for s in _spots(rng, start, stop, 25, 60):
        block = things.make_building(
            rng, rng.uniform(20, 45), 20.0, rng.uniform(6, 40 if kind == "city" else 12)
        )
        yield _stand(road, block, s, side * (edge + rng.uniform(70, 110)), turn)


def _make_bridge(rng, road: Road) -> Mesh:
    """A bridge over the road on two walls."""
    s, half = rng.uniform(20, 150), road.style.half_width_m + road.style.pavement_m + 0.6
    grey = np.full(3, rng.uniform(0.2, 0.4))
    depth = rng.uniform(5, 14)
    deck = box((depth, 2 * half + 1, 1.4), grey, Material.PLAIN, (0, 0, 5.2))
    walls = [
        box((depth, 0.8, 6.0), grey * 0.9, Material.FENCE, (0, y, -0.5)) for y in (-half, half)
    ]
    return _stand(road, join([deck, *walls]), float(s), 0.0)


def _make_traffic(rng: np.random.Generator, road: Road, kind: str, ego: Drive):
    """Cars a lane at the lane's speed (the ego's lane follows the ego), walkers, cyclists."""
    style = road.style
    ego_lane = float(np.interp(0.0, ego.time_s, ego.d))
    changes = abs(ego.d[-1] - ego.d[0]) > 1.5
    for way in (-1, 1):
        for lane in range(style.lanes):
            d = way * (lane + 0.5) * LANE_M
            in_ego_lane = way < 0 and abs(d - ego_lane) < 1.0
            pace = (
                1.0
                if in_ego_lane
                else (rng.uniform(0.0, 0.2) if rng.random() < 0.12 else rng.uniform(0.6, 1.2))
            )
            base = (
                ego.s
                if (way < 0 and (in_ego_lane or changes))
                else (ego.time_s * rng.uniform(5, 18))
            )
            pace = 1.0 if way < 0 and changes else pace
            clear = 9.0 if way < 0 else 0.0
            for gap in _spots(rng, -90.0, 190.0 + 60 * (way > 0), 13, rng.uniform(20, 90)):
                if abs(gap) < clear and (in_ego_lane or changes):
                    continue
                s = gap + base * pace * (1 if way < 0 else -1)
                yield _make_vehicle(rng, Drive(road, ego.time_s, s, np.full_like(s, d), way > 0))
    if kind != "highway":
        yield from _make_walkers(rng, road, ego)


def _make_vehicle(rng: np.random.Generator, drive: Drive) -> Actor:
    heavy = rng.random() < 0.2
    mesh = things.make_van(rng) if heavy else things.make_car(rng)
    category = "vehicle.truck" if heavy else "vehicle.car"
    return Actor(category, (mesh,), drive, _span(mesh))


def _span(mesh: Mesh) -> tuple[float, float, float]:
    length, width, height = (mesh.vertices.max(0) - mesh.vertices.min(0)).tolist()
    return length, width, height


def _make_walkers(rng: np.random.Generator, road: Road, ego: Drive):
    """Pedestrians on the pavements and a few cyclists at the kerb."""
    half, pave = road.style.half_width_m, road.style.pavement_m
    for side in (-1, 1):
        for s0 in _spots(rng, -30, 90, 3, 25):
            cyclist = rng.random() < 0.15
            maker = things.make_cyclist if cyclist else things.make_person
            way = int(rng.choice([-1, 1]))
            pace = rng.uniform(3, 6) if cyclist else rng.uniform(0.7, 1.8) * (rng.random() < 0.85)
            shape_seed = int(rng.integers(1 << 31))
            strides = (0.0, 0.7, 1.0, 0.7, 0.0, -0.7, -1.0, -0.7) if pace else (0.0,)
            phases = tuple(maker(np.random.default_rng(shape_seed), k) for k in strides)
            offset = -0.7 if cyclist else rng.uniform(0.4, max(pave - 0.3, 0.6))
            s = s0 + way * pace * ego.time_s
            drive = Drive(road, ego.time_s, s, np.full_like(s, side * (half + offset)), way < 0)
            category = "vehicle.bicycle" if cyclist else "human.pedestrian.adult"
            yield Actor(category, phases, drive, _span(join(list(phases))), pace / 1.5)
