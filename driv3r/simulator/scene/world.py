"""A simulated world from a seed: ground, light, static layout, actors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.errors import ConfigError
from driv3r.simulator.assets import asset_library
from driv3r.simulator.assets.mesh import Material, Mesh, join, place
from driv3r.simulator.assets.vehicles import cars
from driv3r.simulator.scene import static_layout
from driv3r.simulator.scene.lighting import Light, make_light
from driv3r.simulator.scene.parking import keep_clear, park_along, parked_car
from driv3r.simulator.scene.road import (
    STRIP_M,
    Road,
    RoadStyle,
    make_ground,
    make_line,
    make_palette,
    make_road,
    make_strip,
)
from driv3r.simulator.scene.street_grid import (
    make_signals,
    make_street_ground,
    make_streets,
    street_table,
)
from driv3r.simulator.scene.terrain import make_terrain
from driv3r.simulator.scene.traffic_spawner import (
    Traffic,
    populate_road,
    populate_streets,
    span,
    walk_across,
    walk_along,
)
from driv3r.simulator.scene.trajectories import (
    Actor,
    Trajectory,
    trajectory_along,
    trajectory_times,
)

KINDS = {
    "streets": 0.34,
    "city": 0.15,
    "suburb": 0.2,
    "highway": 0.14,
    "tunnel": 0.07,
    "car park": 0.1,
}
TOP_MPS = {
    "streets": 13.0,
    "city": 14.0,
    "suburb": 14.0,
    "highway": 28.0,
    "tunnel": 17.0,
    "car park": 5.0,
}
EGO = "ego"  # the category of the car that carries the cameras
NOBODY = np.zeros((0, 6))


@dataclass(frozen=True, eq=False)
class World:
    """Everything that can be seen or driven in one generated log.

    `roads` is the table of the ground's shader (ground_paint). `parked` cars are part of `static`;
    they are listed for their boxes. `carriageways` begins with the ego car's.
    """

    seed: int
    kind: str
    carriageways: tuple[Road, ...]
    static: Mesh
    actors: tuple[Actor, ...]
    parked: tuple[Actor, ...]
    ego: Trajectory
    light: Light
    roads: Float[np.ndarray, "r 12"]


@dataclass(frozen=True, eq=False)
class SceneParts:
    """The parts of a scene."""

    carriageways: tuple[Road, ...]
    ground: list[Mesh]
    things: list[Mesh]
    lamps: Float[np.ndarray, "k 6"]
    traffic: Traffic
    parked: list[Actor]
    roads: Float[np.ndarray, "r 12"]


def make_world(seed: int, duration_s: float, kind: str | None = None) -> World:
    """The world of a seed; the same seed gives the same world on every machine."""
    rng = np.random.default_rng([seed, 3])
    drawn = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    kind = kind or drawn
    if kind not in KINDS:
        raise ConfigError(f"no kind of scene {kind!r}; there are {', '.join(KINDS)}")
    time_s = trajectory_times(duration_s)
    parts = SCENE_BUILDERS[kind](rng, seed, kind, time_s)
    light = make_light(rng, parts.lamps)
    if kind == "tunnel":
        light.packed[16] = max(light.packed[16], 0.35)
    cars_parked = [place(a.phases[0], a.trajectory.world_T_ego(0.0)) for a in parts.parked]
    static = join([join(parts.ground), join([*parts.things, *cars_parked], 1)])
    actors = parts.traffic.actors
    if rng.random() < 0.5:
        bonnet = cars.make_ego_bonnet(rng)
        actors = (*actors, Actor(EGO, (bonnet,), parts.traffic.ego, span(bonnet)))
    return World(
        seed, kind, parts.carriageways, static, actors, tuple(parts.parked), parts.traffic.ego,
        light, parts.roads,
    )  # fmt: skip


def _choose_style(rng: np.random.Generator, kind: str) -> RoadStyle:
    lanes = int(rng.integers(2, 4)) if kind == "highway" else int(rng.integers(1, 3))
    lanes = 1 if kind == "suburb" else lanes
    parking = STRIP_M if kind in ("city", "suburb", "streets") and rng.random() < 0.8 else 0.0
    narrow = kind in ("city", "suburb", "streets") and rng.random() < 0.4
    pavement = float(rng.uniform(*((0.7, 1.8) if narrow else (1.8, 4.8))))
    pavement = 0.6 if kind in ("highway", "tunnel") else pavement
    grass = kind == "highway" or rng.random() < (0.9 if kind == "suburb" else 0.4)
    return RoadStyle(
        lanes, parking, pavement, bool(rng.random() < 0.45), bool(grass), bool(rng.random() < 0.25)
    )


def _make_streets(rng: np.random.Generator, seed: int, kind: str, time_s) -> SceneParts:
    """A grid of streets with signals."""
    style, top = _choose_style(rng, kind), TOP_MPS[kind]
    streets = make_streets(rng, style, top * float(time_s[-1]) + 30)
    signals = make_signals(rng, time_s, len(streets.cross))
    traffic = populate_streets(rng, streets, signals, time_s, top)
    things, lamps, parked = list(static_layout.furnish_junctions(rng, streets)), [], []
    half = streets.terrain.cross_half_m
    clear = half + style.pavement_m + 1
    stops = [-110.0 - clear, *streets.cross_m.tolist(), streets.main.end_m - 60 + clear]
    walkers: list[Actor] = []
    for a, b in zip(stops[:-1], stops[1:], strict=True):
        ends = (a + clear, b - clear)
        if ends[1] - ends[0] < 8:
            continue
        for side in (-1, 1):
            things += static_layout.furnish_side(rng, streets.main, side, ends, "city")
            if style.parking_m:
                gap = (a + half + 14, b - half - 14)
                parked += park_along(rng, streets.main, side, gap, time_s)
        posts, points = static_layout.place_lamps(rng, streets.main, ends)
        things += posts
        lamps.append(points)
    for k, road in enumerate(streets.cross):
        if road.style.parking_m:
            for side in (-1, 1):
                for gap in ((-100.0, -style.half_width_m - 14), (style.half_width_m + 14, 100.0)):
                    parked += park_along(rng, road, side, gap, time_s)
        x = float(streets.cross_m[k])
        if -40 < x < 150:
            for s_m in (x - half - 2.7, x + half + 2.7):
                walkers += walk_across(rng, streets.main, s_m, signals.main[:, k], time_s)
    walkers += walk_along(rng, streets.main, time_s, (-40.0, 110.0), rng.uniform(3, 25))
    traffic, parked = _drop_collisions(traffic, walkers, parked)
    ground = [make_street_ground(streets)]
    table = street_table(streets, seed)
    points = np.concatenate(lamps or [NOBODY])
    roads = (streets.main, *streets.cross)
    return SceneParts(roads, ground, things, points, traffic, parked, table)


def _make_road_scene(rng: np.random.Generator, seed: int, kind: str, time_s) -> SceneParts:
    """One curving road through a city, suburb, country or tunnel."""
    style, top = _choose_style(rng, kind), TOP_MPS[kind]
    road = make_road(rng, style, top * float(time_s[-1]) + 30)
    palette = make_palette(rng, style.grass_beyond)
    crossing = float(rng.uniform(60, 130)) if kind in ("city", "suburb") else 1e9
    stops = _crossing_light(rng, crossing, time_s)
    traffic = populate_road(rng, road, time_s, top, stops)
    things, lamps, parked = _line_road(rng, road, kind, time_s)
    walkers: list[Actor] = []
    if kind in ("city", "suburb"):
        walkers += walk_along(rng, road, time_s, (-40.0, 110.0), rng.uniform(4, 30))
        for s_m, red in zip(stops[0], stops[1].T, strict=True):
            walkers += walk_across(rng, road, float(s_m), red, time_s)
    traffic, parked = _drop_collisions(traffic, walkers, parked)
    row = [
        style.lanes, style.half_width_m, float(style.yellow_centre), style.parking_m, crossing,
        0.0, 0.0, style.pavement_m, 0.0, float(style.grass_beyond), seed % 97, 0.0,
    ]  # fmt: skip
    ground = [make_ground(road, palette, 0)]
    return SceneParts((road,), ground, things, lamps, traffic, parked, np.array([row]))


def _drop_collisions(traffic: Traffic, walkers: list[Actor], parked: list[Actor]):
    """Moving actors and parked cars, without those that would collide with the ego car."""
    ego = traffic.ego
    clear = keep_clear(ego, [*traffic.actors, *walkers], 0.05)
    return Traffic(ego, tuple(clear)), keep_clear(ego, parked, 0.15)


def _line_road(rng: np.random.Generator, road: Road, kind: str, time_s):
    """What stands along one road and over it, its lamps, and its parked cars."""
    ends = (road.start_m + 40, road.end_m - 40)
    things, parked, stretches, lamps = [], [], [ends], [NOBODY]
    if kind == "tunnel":
        first = float(rng.uniform(-60, 40))
        under = (first, first + float(rng.uniform(40, 160)))
        parts, points = static_layout.make_tunnel(rng, road, under)
        things += parts
        lamps.append(points)
        stretches = [(ends[0], under[0] - 4), (under[1] + 4, ends[1])]
    for stretch in stretches:
        for side in (-1, 1):
            open_kind = "highway" if kind == "tunnel" else kind
            things += static_layout.furnish_side(rng, road, side, stretch, open_kind)
            if road.style.parking_m:
                parked += park_along(rng, road, side, stretch, time_s)
        posts, points = static_layout.place_lamps(rng, road, stretch)
        things += posts
        lamps.append(points)
    if kind == "highway":
        things += static_layout.make_signs_over(rng, road, ends)
    if kind != "tunnel" and rng.random() < 0.2:
        things.append(static_layout.make_bridge(rng, road))
    return things, np.concatenate(lamps), parked


def _crossing_light(rng: np.random.Generator, crossing_m: float, time_s):
    """Where cars must wait for people over the painted crossings, and when."""
    places = 0.5 * crossing_m + crossing_m * np.arange(-1, 6) if crossing_m < 1e6 else np.zeros(0)
    start = rng.uniform(time_s[0] - 6, time_s[-1], len(places))
    long_s = rng.uniform(6, 14, len(places)) * (rng.random(len(places)) < 0.5)
    red = (time_s[:, None] >= start) & (time_s[:, None] < start + long_s)
    return places, red


def _make_car_park(rng: np.random.Generator, seed: int, kind: str, time_s) -> SceneParts:
    """A slow drive down an aisle between parked cars."""
    style = RoadStyle(1, 0.0, 2.0, False, bool(rng.random() < 0.5))
    terrain = make_terrain(rng, 1e3, np.zeros(0), 0.0, flat=0.4)
    s = np.arange(-150.0, 320.0)
    road = make_line(style, terrain.to_world(s, 0 * s), s[0], terrain)
    palette = make_palette(rng, style.grass_beyond)
    pace = float(rng.uniform(0.2, 1.0)) * TOP_MPS[kind]
    way = pace * time_s
    if rng.random() < 0.3:
        way = np.where(time_s < rng.uniform(0, time_s[-1]), way, np.minimum(way, way.mean()))
    lane = float(rng.uniform(-1.6, -0.8))
    ego = trajectory_along(road, time_s, way, lane + 0.3 * np.sin(way * 0.15))
    actors = []
    for gap in static_layout.spots(rng, -50, 120, 18, 70):
        if abs(gap) > 14:
            oncoming = -gap - rng.uniform(1, 4) * time_s
            mesh = asset_library.car(int(rng.integers(asset_library.CARS)))
            trajectory = trajectory_along(road, time_s, oncoming, 0 * way + 1.6, True)
            actors.append(
                Actor("vehicle.car", (mesh,), trajectory, span(mesh), has_headlights=True)
            )
    actors += walk_along(rng, road, time_s, (-20.0, 60.0), 14.0)
    parked, busy = [], rng.uniform(0.3, 0.95)
    for v in np.arange(-40.0, 41.0, 16.0):
        for turned, d in ((True, v - 2.6), (False, v + 2.6)):
            for bay in np.arange(-45, 110, 2.6):
                if rng.random() < busy:
                    mesh = asset_library.car(int(rng.integers(asset_library.CARS)))
                    if np.ptp(mesh.vertices[:, 0]) < 5.3:
                        parked.append(
                            parked_car(rng, mesh, road, bay, d, turned, time_s, np.pi / 2)
                        )
    things = list(static_layout.furnish_lot(rng, road, palette.asphalt))
    land = np.array([-260, -180, -120, -72.0]), np.array([72.0, 120, 180, 260])
    ground = [
        make_strip(road, edges, Material.GRASS, palette.land, (-149.0, 318.0), 6.0)
        for edges in land
    ]
    traffic, parked = _drop_collisions(Traffic(ego, tuple(actors)), [], parked)
    return SceneParts((road,), ground, things, NOBODY, traffic, parked, np.zeros((1, 12)))


SCENE_BUILDERS: dict[str, Callable[..., SceneParts]] = {
    "streets": _make_streets,
    "city": _make_road_scene,
    "suburb": _make_road_scene,
    "highway": _make_road_scene,
    "tunnel": _make_road_scene,
    "car park": _make_car_park,
}
