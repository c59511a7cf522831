"""A main street with others across it: roads, ground, signals, and paths that turn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from driv3r.simulator.assets.mesh import Material, Mesh, join
from driv3r.simulator.scene.road import (
    AFTER_M,
    BEFORE_M,
    LANE_M,
    STRIP_M,
    Palette,
    Road,
    RoadStyle,
    make_line,
    make_palette,
    make_sheet,
    make_strip,
)
from driv3r.simulator.scene.terrain import KERB_SLOPE_M, Terrain, make_terrain

CROSS_M = 105.0
PATCH_M = 10.0  # beyond the kerb lines that a junction's own piece of ground reaches
STOP_BACK_M = 8.0  # a waiting car's middle lies this far before the kerb line


@dataclass(frozen=True, eq=False)
class Streets:
    """The main street, those across it, and the light of the signals that each faces."""

    terrain: Terrain
    main: Road
    cross: tuple[Road, ...]
    palette: Palette

    @property
    def cross_m(self) -> Float[np.ndarray, "j"]:
        """Where along the main street the others cross it."""
        return self.terrain.cross_m


@dataclass(frozen=True, eq=False)
class Signals:
    """Red lights over time, for the main street and for the others, [time, junction]."""

    main: Bool[np.ndarray, "t j"]
    cross: Bool[np.ndarray, "t j"]


def make_streets(rng: np.random.Generator, style: RoadStyle, length_m: float) -> Streets:
    """A straight main street as long as a drive, with crossings 55 to 130 m apart."""
    lanes = int(rng.integers(1, 3))
    parking = STRIP_M if rng.random() < (0.7 if lanes == 1 else 0.4) else 0.0
    cross_style = RoadStyle(
        lanes, parking, style.pavement_m, style.yellow_centre, style.grass_beyond
    )
    spots, s = [], float(rng.uniform(14, 50))
    while s < length_m + 100:
        spots.append(s)
        s += float(rng.uniform(55, 130))
    if rng.random() < 0.4:
        spots.insert(0, spots[0] - float(rng.uniform(60, 110)))
    cross_half = cross_style.half_width_m
    terrain = make_terrain(rng, style.half_width_m, np.array(spots), cross_half)
    s = np.arange(-float(BEFORE_M), length_m + AFTER_M)
    line = terrain.to_world(s, 0 * s)
    main = make_line(style, line, s[0], terrain)
    y = np.arange(-CROSS_M, CROSS_M + 1)
    cross = tuple(
        make_line(cross_style, terrain.to_world(0 * y + x, y), -CROSS_M, terrain) for x in spots
    )
    return Streets(terrain, main, cross, make_palette(rng, style.grass_beyond))


def make_signals(
    rng: np.random.Generator, time_s: Float[np.ndarray, "t"], junctions: int
) -> Signals:
    """Each junction's cycle of 24 to 40 s, half for each street, 2.5 s red for both between."""
    period = rng.uniform(24, 40, junctions)
    place = (time_s[:, None] + rng.uniform(0, 40, junctions)) % period
    half = period / 2
    return Signals((place >= half - 2.5), (place < half) | (place >= period - 2.5))


def make_street_ground(streets: Streets) -> Mesh:
    """Carriageways, junctions, pavements and the land between the streets."""
    main, palette, terrain = streets.main, streets.palette, streets.terrain
    half, pave = main.style.half_width_m, main.style.pavement_m
    reach_x = terrain.cross_half_m + PATCH_M
    stops = [main.start_m + 1, *streets.cross_m.tolist(), main.end_m - 1]
    parts = []
    for k, (a, b) in enumerate(zip(stops[:-1], stops[1:], strict=True)):
        first = a + reach_x * (k > 0)
        last = b - reach_x * (k < len(stops) - 2)
        if last - first > 1:
            parts += _street(main, palette, (first, last), row=0)
        inner = a + (terrain.cross_half_m + pave) * (k > 0)
        outer = b - (terrain.cross_half_m + pave) * (k < len(stops) - 2)
        parts += _land(main, palette, (first, last), (half + pave, half + PATCH_M))
        parts += _land(main, palette, (inner, outer), (half + PATCH_M, 200.0))
    for road in streets.cross:
        for ends in ((road.start_m + 1, -half - PATCH_M), (half + PATCH_M, road.end_m - 1)):
            parts += _street(road, palette, ends, row=1)
    parts += [_patch(streets, float(x)) for x in streets.cross_m]
    return join(parts)


def _street(road: Road, palette: Palette, ends: tuple[float, float], row: int) -> list[Mesh]:
    half, pave = road.style.half_width_m, road.style.pavement_m
    kerb = Material.STRIPES if road.style.chequered_kerb else Material.CONCRETE
    lanes = np.linspace(-half, half, 7)
    parts = [make_strip(road, lanes, Material.ROAD, palette.asphalt, ends, style=row)]
    for sign in (-1, 1):
        edges = [half, half + 0.06, half + KERB_SLOPE_M]
        face = sorted(sign * np.array(edges))
        top = sorted([sign * edges[-1], sign * (half + 0.3)])
        slabs = sorted([sign * (half + 0.3), sign * (half + pave)])
        parts.append(make_strip(road, face, Material.CONCRETE, palette.stone * 0.8, ends))
        parts.append(make_strip(road, top, kerb, palette.stone * 1.2, ends, style=0.9))
        parts.append(make_strip(road, slabs, Material.PAVEMENT, palette.stone * 0.9, ends))
    return parts


def _land(
    road: Road, palette: Palette, ends: tuple[float, float], reach: tuple[float, float]
) -> list[Mesh]:
    if ends[1] - ends[0] < 0.5 or reach[1] <= reach[0]:
        return []
    steps = np.array([0.0, 4, 10, 20, 35, 60, 110, 200])
    edges = np.unique(np.clip(reach[0] + steps, *reach))
    material = Material.GRASS if road.style.grass_beyond else Material.PAVEMENT
    return [
        make_strip(road, np.sort(sign * edges), material, palette.land, ends, step_m=5.0)
        for sign in (-1, 1)
    ]


def _patch(streets: Streets, x0: float) -> Mesh:
    """The ground of one junction: fine about the rounded kerbs, which its shader paints."""
    terrain, half = streets.terrain, streets.terrain.half_m

    def lines(inner: float) -> np.ndarray:
        fine = inner + np.arange(-0.2, terrain.corner_m + 0.4, 0.2)
        coarse = np.r_[np.arange(0, inner - 0.2, 1.5), np.arange(fine[-1], inner + PATCH_M, 1.0)]
        side = np.unique(np.round(np.r_[fine, coarse, inner + PATCH_M], 6))
        return np.unique(np.r_[-side, side])

    x, y = np.meshgrid(lines(terrain.cross_half_m), lines(half), indexing="ij")
    xy = terrain.to_world(x + x0, y)
    z = terrain.height(xy[..., 0], xy[..., 1])
    points = np.concatenate([xy, z[..., None]], -1)
    colour = streets.palette.asphalt
    return make_sheet(points, np.stack([x, y], -1), Material.JUNCTION, colour, style=0.0)


def street_table(streets: Streets, seed: int) -> Float[np.ndarray, "2 12"]:
    """What the ground's shader needs of the main street (row 0) and of the others (row 1)."""
    terrain, rows = streets.terrain, []
    for road in (streets.main, streets.cross[0]):
        style = road.style
        rows.append(
            [
                style.lanes, style.half_width_m, float(style.yellow_centre), style.parking_m, 1e9,
                terrain.cross_half_m, terrain.corner_m, streets.main.style.pavement_m,
                style.pavement_m, float(style.grass_beyond), seed % 97,
                float(style.chequered_kerb),
            ]
        )  # fmt: skip
    return np.array(rows)


def turning_road(
    streets: Streets, junction: int, lane_d: float, left: bool
) -> tuple[Road, float, float]:
    """The path from a lane of the main street into the near lane across; where it turns, radius.

    The road's s is the main street's until the turn.
    """
    terrain = streets.terrain
    sign = 1.0 if left else -1.0
    x_lane = float(streets.cross_m[junction]) + sign * LANE_M / 2
    gap = terrain.cross_half_m - LANE_M / 2
    edge = min(gap, terrain.half_m - abs(lane_d))
    radius = terrain.corner_m + edge if not left else 9.0
    start = x_lane - radius
    angle = np.linspace(0, np.pi / 2, 80)
    s = np.arange(streets.main.start_m, start, 0.25)
    out = np.arange(0.25, 110, 0.25)
    x = np.r_[s, start + radius * np.sin(angle), np.full(len(out), x_lane)]
    arc_y = lane_d + sign * radius * (1 - np.cos(angle))
    y = np.r_[np.full(len(s), lane_d), arc_y, lane_d + sign * (radius + out)]
    line = terrain.to_world(x, y)
    road = make_line(streets.main.style, line, streets.main.start_m, terrain)
    return road, start, float(radius)
