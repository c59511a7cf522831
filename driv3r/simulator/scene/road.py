"""A road as a curve with a cross-section: (s along, d to the left) in metres to world points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, join, make_mesh
from driv3r.simulator.scene.terrain import KERB_M, Terrain

LANE_M = 3.5
STRIP_M = 2.4  # a parking strip
BEFORE_M, AFTER_M = 130, 160


@dataclass(frozen=True)
class RoadStyle:
    """Cross-section: lanes each way, parking strips, pavements, and the land beyond."""

    lanes: int
    parking_m: float
    pavement_m: float
    yellow_centre: bool
    grass_beyond: bool
    chequered_kerb: bool = False

    @property
    def half_width_m(self) -> float:
        """From the centre line to the kerb."""
        return self.lanes * LANE_M + self.parking_m


@dataclass(frozen=True, eq=False)
class Road:
    """The centre line sampled every metre from `start_m`, with heading and height.

    With a terrain the ground is the terrain's; without, the road makes its own: crown, kerbs and
    verges that slope away.
    """

    style: RoadStyle
    start_m: float
    xy: Float[np.ndarray, "n 2"]
    yaw: Float[np.ndarray, "n"]
    z: Float[np.ndarray, "n"]
    verge_slope: tuple[float, float] = (0.0, 0.0)
    terrain: Terrain | None = None

    @property
    def end_m(self) -> float:
        """Where the sampled line ends."""
        return self.start_m + len(self.z) - 1

    def frame(self, s):
        """(x, y, z, yaw) of the centre line at s; past its ends it runs on straight and level."""
        at = np.asarray(s, np.float64) - self.start_m
        grid = np.arange(len(self.z))
        x, y, z, yaw = (
            np.interp(at, grid, c) for c in (self.xy[:, 0], self.xy[:, 1], self.z, self.yaw)
        )
        past = at - np.clip(at, 0, len(grid) - 1)
        return x + past * np.cos(yaw), y + past * np.sin(yaw), z, yaw

    def surface(self, s, d) -> Float[np.ndarray, "*b 3"]:
        """World points of the ground at (s, d)."""
        x, y, z, yaw = self.frame(s)
        d = np.asarray(d, np.float64)
        px, py = x - np.sin(yaw) * d, y + np.cos(yaw) * d
        if self.terrain is not None:
            return np.stack([px, py, self.terrain.height(px, py)], axis=-1)
        half, side = self.style.half_width_m, np.abs(d)
        beyond = np.maximum(side - half - self.style.pavement_m, 0.0)
        slope = np.where(d > 0, self.verge_slope[0], self.verge_slope[1])
        bumps = 0.25 * np.sin(0.11 * x + 0.07 * d) * np.minimum(beyond / 8.0, 1.0)
        height = z - 0.02 * np.minimum(side, half) + KERB_M * (side > half + 1e-6)
        return np.stack([px, py, height + slope * beyond + bumps], axis=-1)


def make_road(rng: np.random.Generator, style: RoadStyle, length_m: float) -> Road:
    """A curving, rolling road that runs from -150 m to `length_m` + 200 m."""
    n = int(length_m + BEFORE_M + AFTER_M)
    s = np.arange(n) - float(BEFORE_M)
    bends = rng.choice([0.3, 1.0, 2.0])
    curvature = sum(
        rng.normal(0, 0.0035) * bends * np.sin(2 * np.pi * s / wave + rng.uniform(0, 7))
        for wave in (180.0, 350.0, 90.0)
    )
    curvature = np.clip(curvature, -0.018, 0.018)
    yaw = rng.uniform(-np.pi, np.pi) + np.cumsum(curvature)
    xy = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], -1), axis=0)
    z = np.zeros(n) + sum(
        rng.normal(0, 0.008) * wave / 6 * np.sin(2 * np.pi * s / wave + rng.uniform(0, 7))
        for wave in (120.0, 300.0, 60.0)
    )
    slopes = tuple(float(v) for v in rng.normal(0.01, 0.04, 2))
    return Road(style, -float(BEFORE_M), xy - xy[BEFORE_M], yaw, z, (slopes[0], slopes[1]))


def make_line(
    style: RoadStyle, xy: Float[np.ndarray, "k 2"], start_m: float, terrain: Terrain
) -> Road:
    """A road along a dense polyline on a terrain; its first point lies at `start_m`."""
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))]
    s = np.arange(0.0, along[-1], 1.0)
    points = np.stack([np.interp(s, along, xy[:, 0]), np.interp(s, along, xy[:, 1])], -1)
    step = np.gradient(points, axis=0)
    yaw = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    z = terrain.height(points[:, 0], points[:, 1])
    return Road(style, start_m, points, yaw, z, terrain=terrain)


def make_strip(
    road: Road, d_edges, material: Material, colour, s_range=None, step_m: float = 2.0, style=0.0
) -> Mesh:
    """A ribbon of ground between lateral positions, uv = (s, d)."""
    first, last = s_range or (road.start_m + 1, road.end_m - 1)
    s = np.linspace(first, last, max(int(np.ceil((last - first) / step_m)), 1) + 1)
    grid_s, grid_d = np.meshgrid(s, np.asarray(d_edges, np.float64), indexing="ij")
    points = road.surface(grid_s, grid_d)
    return make_sheet(points, np.stack([grid_s, grid_d], -1), material, colour, style)


def make_sheet(points, uv, material: Material, colour, style: float = 0.0) -> Mesh:
    """A grid of points [rows, columns, 3] as triangles."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return make_mesh(points.reshape(-1, 3), triangles, colour, material, uv.reshape(-1, 2), style)


@dataclass(frozen=True)
class Palette:
    """Colours of a world's ground."""

    asphalt: Float[np.ndarray, "3"]
    stone: Float[np.ndarray, "3"]
    land: Float[np.ndarray, "3"]


def make_palette(rng: np.random.Generator, grass: bool) -> Palette:
    """New black to old pale asphalt, stone, and grass, dry grass or paving beyond."""
    asphalt = np.full(3, rng.uniform(0.08, 0.24)) * (1 + rng.normal(0, 0.03, 3))
    stone = np.array([0.24, 0.23, 0.21]) * rng.uniform(0.5, 1.4)
    green = np.array([0.1, 0.14, 0.045]) * rng.uniform(0.7, 1.3)
    dry = np.array([0.26, 0.22, 0.1]) * rng.uniform(0.7, 1.2)
    land = green + (dry - green) * rng.uniform(0, 1) ** 2 if grass else np.full(3, 0.17)
    return Palette(asphalt, stone, land)


def make_ground(road: Road, palette: Palette, row: int) -> Mesh:
    """Carriageway, kerbs, pavements and the land beyond, as one piece; `row` of the road table."""
    half, pave = road.style.half_width_m, road.style.pavement_m
    beyond = Material.GRASS if road.style.grass_beyond else Material.PAVEMENT
    kerb = Material.STRIPES if road.style.chequered_kerb else Material.CONCRETE
    eps = 2e-6  # a step in the height profile: the kerb's face
    lanes = np.linspace(-half, half, 7)
    parts = [make_strip(road, lanes, Material.ROAD, palette.asphalt, style=row)]
    for sign in (-1, 1):
        face = sorted([sign * half, sign * (half + eps)])
        top = sorted([sign * (half + eps), sign * (half + min(0.22, pave))])
        slabs = sorted([sign * (half + min(0.22, pave)), sign * (half + pave)])
        far = sorted(sign * (half + pave + np.array([0, 3, 8, 16, 30, 60, 120, 200.0])))
        parts.append(make_strip(road, face, Material.CONCRETE, palette.stone * 0.8))
        parts.append(make_strip(road, top, kerb, palette.stone * 1.2, style=0.9))
        parts.append(make_strip(road, slabs, Material.PAVEMENT, palette.stone * 0.9))
        parts.append(make_strip(road, far, beyond, palette.land, step_m=6.0))
    return join(parts)
