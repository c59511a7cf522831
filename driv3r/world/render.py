"""Images, exact truth and LiDAR of a world, by Embree rays.

Truth comes from one ray through each pixel's centre, colours from the mean of two others. Two
Embree scenes are cast, static and moving, and the nearer hit is taken.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Int, UInt8

from driv3r.geometry.cameras import pixel_grid, unproject
from driv3r.types import Camera
from driv3r.world.mesh import Mesh, join, place
from driv3r.world.rig import EGO_T_LIDAR
from driv3r.world.scene import World
from driv3r.world.shading import shade_hits

COLOUR_OFFSETS = ((-0.23, 0.19), (0.27, -0.21))
FIRST_ACTOR_INSTANCE = 100_000
MOVES_ABOVE_MPS = 0.3
FAR = 1e30
LIDAR_BEAMS, LIDAR_COLUMNS = 32, 1084
LIDAR_ELEVATION_DEG = (-30.67, 10.67)
LIDAR_RANGE_M = (1.0, 100.0)


@dataclass(frozen=True, eq=False)
class ViewTruth:
    """One camera's image and its exact truth; sky has depth 0 and instance -1."""

    image: UInt8[np.ndarray, "h w 3"]
    depth_m: Float[np.ndarray, "h w"]
    instance: Int[np.ndarray, "h w"]
    moving: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Triangles of one Embree scene, unpacked for shading; corner arrays are [m, 3, ...]."""

    scene: EmbreeScene
    corner_uv: Float[np.ndarray, "m 3 2"]
    normal: Float[np.ndarray, "m 3"]
    mesh: Mesh


@dataclass(frozen=True, eq=False)
class Stage:
    """The moving things at one instant."""

    surfaces: Surfaces | None
    world_T_actor: Float[np.ndarray, "a 4 4"]
    actor_moves: Bool[np.ndarray, "a"]


@dataclass(frozen=True, eq=False)
class Hits:
    """Nearest hits of n rays: 0 nothing, 1 static, 2 actor; triangle, barycentrics, distance."""

    kind: Int[np.ndarray, "n"]
    triangle: Int[np.ndarray, "n"]
    bary: Float[np.ndarray, "n 2"]
    range_m: Float[np.ndarray, "n"]


def make_surfaces(mesh: Mesh) -> Surfaces:
    """Build the Embree scene and per-triangle attributes of a mesh."""
    scene = EmbreeScene()
    vertices = np.ascontiguousarray(mesh.vertices, np.float32)
    TriangleMesh(scene, vertices, np.ascontiguousarray(mesh.triangles, np.int32))
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    return Surfaces(scene, mesh.uv[mesh.triangles], normal, mesh)


class Renderer:
    """Casts rays into one world."""

    def __init__(self, world: World):
        self.world = world
        self.static = make_surfaces(world.static)
        self.stage = lru_cache(maxsize=8)(self._make_stage)

    def _make_stage(self, time_s: float) -> Stage:
        actors = self.world.actors
        if not actors:
            return Stage(None, np.zeros((0, 4, 4)), np.zeros(0, bool))
        world_T_actor = np.stack([a.drive.world_T_ego(time_s) for a in actors])
        meshes = [place(a.mesh_at(time_s), T) for a, T in zip(actors, world_T_actor, strict=True)]
        moves = np.array([a.speed_mps(time_s) > MOVES_ABOVE_MPS for a in actors])
        return Stage(make_surfaces(join(meshes, FIRST_ACTOR_INSTANCE)), world_T_actor, moves)

    def cast(self, stage: Stage, origins, directions) -> Hits:
        """Nearest hits of rays from `origins` along unit `directions`."""
        origins = np.ascontiguousarray(origins, np.float32)
        directions = np.ascontiguousarray(directions, np.float32)
        first = self.static.scene.run(origins, directions, output=True)
        kind = (first["primID"] >= 0).astype(np.int8)
        if stage.surfaces is not None:
            other = stage.surfaces.scene.run(origins, directions, output=True)
            nearer = other["tfar"] < first["tfar"]
            kind[nearer] = 2
            for key in ("primID", "u", "v", "tfar"):
                first[key][nearer] = other[key][nearer]
        bary = np.stack([first["u"], first["v"]], -1).astype(np.float64)
        return Hits(kind, first["primID"], bary, first["tfar"].astype(np.float64))

    def is_lit(self, stage: Stage, points, normals, rng) -> Float[np.ndarray, "n"]:
        """1 where the sun (a soft disc) is seen from a point, else 0."""
        sun = self.world.light.sun_direction
        spread = 0.35 if self.world.light.packed[14] > 0.8 else 0.01
        directions = sun + rng.normal(0, spread, points.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions = np.ascontiguousarray(directions, np.float32)
        origins = np.ascontiguousarray(points + 0.02 * normals, np.float32)
        lit = self.static.scene.run(origins, directions, query="OCCLUDED") != 0
        if stage.surfaces is not None:
            lit &= stage.surfaces.scene.run(origins, directions, query="OCCLUDED") != 0
        return lit.astype(np.float64)

    def shade(self, stage: Stage, hits: Hits, origins, directions, pixel_rad, rng):
        """Linear RGB of rays."""
        n = len(hits.kind)
        normals, colour = np.zeros((n, 3)), np.zeros((n, 3))
        uv, style, material = np.zeros((n, 2)), np.zeros(n), np.zeros(n, np.int64)
        points = origins + directions * np.where(hits.kind > 0, hits.range_m, 0.0)[:, None]
        own = points.copy()
        for code, surfaces in ((1, self.static), (2, stage.surfaces)):
            rows = np.flatnonzero(hits.kind == code)
            if surfaces is None or not len(rows):
                continue
            triangle, bary = hits.triangle[rows], hits.bary[rows]
            normals[rows] = surfaces.normal[triangle]
            colour[rows] = surfaces.mesh.colour[triangle]
            style[rows] = surfaces.mesh.style[triangle]
            material[rows] = surfaces.mesh.material[triangle]
            weights = np.concatenate([1 - bary.sum(1, keepdims=True), bary], 1)
            uv[rows] = np.einsum("nk,nkc->nc", weights, surfaces.corner_uv[triangle])
            if code == 2:
                actor = surfaces.mesh.instance[triangle] - FIRST_ACTOR_INSTANCE
                world_T_own = stage.world_T_actor[actor]
                offset = points[rows] - world_T_own[:, :3, 3]
                own[rows] = np.einsum("nij,ni->nj", world_T_own[:, :3, :3], offset)
        facing = np.einsum("nc,nc->n", normals, directions)
        outward = normals * -np.sign(facing)[:, None]
        lit = np.zeros(n)
        seen = np.flatnonzero(hits.kind > 0)
        lit[seen] = self.is_lit(stage, points[seen], outward[seen], rng)
        rgb = np.empty((n, 3))
        world = self.world
        shade_hits(
            hits.kind, own, directions, normals, uv, material, colour, style,
            hits.range_m, pixel_rad, lit, world.road_parameters, world.light.packed, rgb,
        )  # fmt: skip
        return rgb

    def render_view(self, camera: Camera, time_s: float, look: int = 0) -> ViewTruth:
        """Image and truth of one camera at its own time; `look` seeds noise and exposure."""
        stage = self.stage(time_s)
        world_T_cam = self.world.ego.world_T_ego(time_s) @ camera.ego_T_cam
        key = [self.world.seed, look, int(time_s * 1e6) & 0xFFFFFFF, len(camera.name)]
        rng = np.random.default_rng(key)
        grid = pixel_grid(camera.size_hw).reshape(-1, 2)
        origins, directions, depth_per_range = _rays(camera, world_T_cam, grid)
        truth = self.cast(stage, origins, directions)
        rgb = np.zeros((len(grid), 3))
        for offset in COLOUR_OFFSETS:
            o, d, _ = _rays(camera, world_T_cam, grid + offset)
            hits = self.cast(stage, o, d)
            rgb += self.shade(stage, hits, o, d, 1.0 / camera.K[0, 0], rng) / len(COLOUR_OFFSETS)
        image = develop(rgb.reshape(*camera.size_hw, 3), rng)
        seen = truth.kind > 0
        depth_m = np.where(seen, truth.range_m * depth_per_range, 0.0)
        instance = self._instances(stage, truth)
        actor = np.clip(instance - FIRST_ACTOR_INSTANCE, 0, max(len(stage.actor_moves) - 1, 0))
        moving = np.zeros(len(grid), bool)
        if len(stage.actor_moves):
            moving = (truth.kind == 2) & stage.actor_moves[actor]
        size = camera.size_hw
        return ViewTruth(
            image,
            depth_m.reshape(size).astype(np.float32),
            instance.reshape(size).astype(np.int32),
            moving.reshape(size),
        )

    def _instances(self, stage: Stage, hits: Hits) -> Int[np.ndarray, "n"]:
        instance = np.full(len(hits.kind), -1, np.int64)
        for code, surfaces in ((1, self.static), (2, stage.surfaces)):
            rows = hits.kind == code
            if surfaces is not None:
                instance[rows] = surfaces.mesh.instance[hits.triangle[rows]]
        return instance

    def scan(self, time_s: float) -> Float[np.ndarray, "n 3"]:
        """One LiDAR sweep in the sensor's frame: 32 beams, range noise, drop-outs.

        All rays leave at one instant, as if the sweep had been compensated to its time.
        """
        rng = np.random.default_rng([self.world.seed, 77, int(time_s * 1e6) & 0xFFFFFFF])
        elevation = np.radians(np.linspace(*LIDAR_ELEVATION_DEG, LIDAR_BEAMS))[:, None]
        azimuth = np.linspace(0, 2 * np.pi, LIDAR_COLUMNS, endpoint=False)[None]
        flat = np.cos(elevation)
        directions_lidar = np.stack(
            [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) + 0 * azimuth], -1
        ).reshape(-1, 3)
        world_T_lidar = self.world.ego.world_T_ego(time_s) @ EGO_T_LIDAR
        directions = directions_lidar @ world_T_lidar[:3, :3].T
        origins = np.broadcast_to(world_T_lidar[:3, 3], directions.shape)
        hits = self.cast(self.stage(time_s), origins, directions)
        keep = (
            (hits.kind > 0) & (hits.range_m > LIDAR_RANGE_M[0]) & (hits.range_m < LIDAR_RANGE_M[1])
        )
        keep &= rng.random(len(keep)) > 0.04 + 0.25 * (hits.range_m / LIDAR_RANGE_M[1]) ** 2
        noisy_m = hits.range_m + rng.normal(0, 0.015, len(keep))
        return (directions_lidar * noisy_m[:, None])[keep].astype(np.float32)


def _rays(camera: Camera, world_T_cam, uv):
    """World origins, unit directions, and depth per range of pixel positions."""
    rays_cam = unproject(camera, uv)
    length = np.linalg.norm(rays_cam, axis=-1)
    directions = (rays_cam / length[:, None]) @ world_T_cam[:3, :3].T
    return np.broadcast_to(world_T_cam[:3, 3], directions.shape), directions, 1.0 / length


def develop(
    rgb: Float[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """A camera's processing: exposure, white balance, vignette, shot noise, filmic curve, sRGB."""
    h, w, _ = rgb.shape
    exposure = 0.42 / (np.percentile(rgb.mean(-1), 70) + 0.05) * rng.uniform(0.7, 1.35)
    balance = 1 + rng.normal(0, 0.035, 3)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    light = rgb * exposure * balance * (1 - 0.12 * (x * x + y * y))[..., None]
    light += rng.normal(size=light.shape) * np.sqrt(np.maximum(light, 0) * 3e-4 + 4e-5)
    light = np.maximum(light, 0.0)
    film = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return (np.clip(film, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
