"""A road as a curve with a cross-section: (s along, d to the left) in metres to world points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.world.mesh import Material, Mesh, join, make_mesh

LANE_M = 3.5
KERB_M = 0.13


@dataclass(frozen=True)
class RoadStyle:
    """Cross-section: lanes each way, parking strips, pavements, and the land beyond."""

    lanes: int
    parking_m: float
    pavement_m: float
    yellow_centre: bool
    grass_beyond: bool

    @property
    def half_width_m(self) -> float:
        """From the centre line to the kerb."""
        return self.lanes * LANE_M + self.parking_m


@dataclass(frozen=True, eq=False)
class Road:
    """The centre line sampled every metre from `start_m`, with heading and height."""

    style: RoadStyle
    start_m: float
    xy: Float[np.ndarray, "n 2"]
    yaw: Float[np.ndarray, "n"]
    z: Float[np.ndarray, "n"]
    verge_slope: tuple[float, float]

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
        """World points of the ground at (s, d): crown, kerb, pavement, verge."""
        x, y, z, yaw = self.frame(s)
        d = np.asarray(d, np.float64)
        half, side = self.style.half_width_m, np.abs(d)
        beyond = np.maximum(side - half - self.style.pavement_m, 0.0)
        slope = np.where(d > 0, self.verge_slope[0], self.verge_slope[1])
        bumps = 0.25 * np.sin(0.11 * x + 0.07 * d) * np.minimum(beyond / 8.0, 1.0)
        height = z - 0.02 * np.minimum(side, half) + KERB_M * (side > half + 1e-6)
        height = height + slope * beyond + bumps
        return np.stack([x - np.sin(yaw) * d, y + np.cos(yaw) * d, height], axis=-1)


def make_road(rng: np.random.Generator, style: RoadStyle, length_m: float) -> Road:
    """A gently curving, rolling road that runs from -150 m to `length_m` + 200 m."""
    n = int(length_m + 350)
    s = np.arange(n) - 150.0
    curvature = sum(
        rng.normal(0, 0.0035) * np.sin(2 * np.pi * s / wave + rng.uniform(0, 7))
        for wave in (180.0, 350.0, 90.0)
    )
    yaw = rng.uniform(-np.pi, np.pi) + np.cumsum(curvature)
    xy = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], -1), axis=0)
    z = np.zeros(n) + sum(
        rng.normal(0, 0.008) * wave / 6 * np.sin(2 * np.pi * s / wave + rng.uniform(0, 7))
        for wave in (120.0, 300.0, 60.0)
    )
    slopes = tuple(float(v) for v in rng.normal(0.01, 0.04, 2))
    return Road(style, -150.0, xy - xy[150], yaw, z, (slopes[0], slopes[1]))


def _strip(road: Road, d_edges, material: Material, colour, step_m: float = 2.0) -> Mesh:
    """A ribbon of ground between lateral positions, uv = (s, d)."""
    s = np.arange(road.start_m + 1, road.start_m + len(road.z) - 1, step_m)
    grid_s, grid_d = np.meshgrid(s, np.asarray(d_edges, np.float64), indexing="ij")
    rows, columns = grid_s.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    points = road.surface(grid_s, grid_d).reshape(-1, 3)
    uv = np.stack([grid_s, grid_d], -1).reshape(-1, 2)
    return make_mesh(points, triangles, colour, material, uv)


def make_ground(rng: np.random.Generator, road: Road) -> Mesh:
    """Carriageway, kerbs, pavements and the land beyond, as one piece."""
    half, pave = road.style.half_width_m, road.style.pavement_m
    asphalt = np.full(3, rng.uniform(0.06, 0.16)) * (1 + rng.normal(0, 0.03, 3))
    stone = np.array([0.22, 0.21, 0.195]) * rng.uniform(0.5, 1.3)
    land = np.array([0.12, 0.15, 0.05]) if road.style.grass_beyond else np.full(3, 0.15)
    land = land * rng.uniform(0.7, 1.3)
    beyond_material = Material.GRASS if road.style.grass_beyond else Material.PAVEMENT
    eps = 2e-6  # a step in the height profile: the kerb's face
    parts = [_strip(road, np.linspace(-half, half, 7), Material.ROAD, asphalt)]
    for sign in (-1, 1):
        kerb = sorted([sign * half, sign * (half + eps)])
        pavement = sorted([sign * (half + eps), sign * (half + pave)])
        far = sorted(sign * (half + pave + np.array([0, 3, 8, 16, 30, 60, 120, 200.0])))
        parts.append(_strip(road, kerb, Material.PLAIN, stone))
        parts.append(_strip(road, pavement, Material.PAVEMENT, stone * 0.9))
        parts.append(_strip(road, far, beyond_material, land, step_m=6.0))
    return join(parts)
