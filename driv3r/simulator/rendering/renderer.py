"""Images and exact truth of a world.

Truth comes from one ray through each pixel's centre, and so does colour where a pixel sees one
surface; at edges one more ray shares it.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from driv3r.geometry.cameras import pixel_grid, unproject
from driv3r.geometry.transforms import invert
from driv3r.simulator.assets.mesh import Material
from driv3r.simulator.rendering.actor_state import (
    FIRST_ACTOR_INSTANCE,
    STEP_S,
    ActorRenderer,
    Stage,
)
from driv3r.simulator.rendering.bvh import shoot
from driv3r.simulator.rendering.camera_response import camera_response, make_lens, sun_before
from driv3r.simulator.rendering.lidar import Scan, scan
from driv3r.simulator.rendering.pixel_kernels import (
    SKY_STEP,
    gather,
    image_motion,
    mark_edges,
    sky_rays,
    sun_rays,
)
from driv3r.simulator.rendering.ray_casting import (
    ACTOR,
    STILL,
    Found,
    Hits,
    cast,
    find,
    is_clear,
    make_surfaces,
    velocities,
)
from driv3r.simulator.rendering.shading import shade_hits
from driv3r.simulator.rendering.textures import load_textures
from driv3r.simulator.scene.world import World
from driv3r.types import Camera

EDGE_OFFSETS = ((0.31, -0.27),)
WET_GROUND = (Material.ROAD, Material.JUNCTION, Material.LOT)
LAMPS, BEAMS = 16, 8
SOFTEST = 0.1  # radians: a sun's disc wider than this throws no shadows
EGO_INSTANCE = -2


@dataclass(frozen=True, eq=False)
class ViewTruth:
    """One camera's image and its exact truth.

    Sky has depth 0 and instance -1, the ego car's own bonnet instance -2. `velocity_mps` is each
    surface point's in the world, limbs and all.
    """

    image: UInt8[np.ndarray, "h w 3"]
    depth_m: Float[np.ndarray, "h w"]
    instance: Int[np.ndarray, "h w"]
    moving: Bool[np.ndarray, "h w"]
    velocity_mps: Float[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class Shot:
    """What a view's shading needs besides its rays."""

    stage: Stage
    beams: Float[np.ndarray, "k 6"]
    lamps: Float[np.ndarray, "k 6"]
    pixel_rad: float
    rng: np.random.Generator


class Renderer:
    """Casts rays into one world. With `jpeg` images bear the marks of compression."""

    def __init__(self, world: World, jpeg: bool = False):
        self.world, self.jpeg = world, jpeg
        self.still = make_surfaces(world.static)
        self.theatre = ActorRenderer(world.actors, world.ego)
        self.textures = load_textures()
        self.instance_of_actor = FIRST_ACTOR_INSTANCE + np.arange(len(world.actors))
        own = [i for i, actor in enumerate(world.actors) if actor.trajectory is world.ego]
        self.instance_of_actor[own] = EGO_INSTANCE

    def stage(self, time_s: float) -> Stage:
        """The moving things at a time."""
        return self.theatre.at(time_s)

    def scan(self, time_s: float) -> Scan:
        """The LiDAR sweep that ends at a time (lidar.scan)."""
        return scan(self.world, self.still, self.theatre, time_s)

    def render_view(self, camera: Camera, time_s: float, look: int = 0) -> ViewTruth:
        """Image and truth of one camera at its own time; `look` tells its lens from others'."""
        key = [
            self.world.seed,
            look,
            int(time_s * 1e6) & 0xFFFFFFF,
            zlib.crc32(camera.name.encode()),
        ]
        world_T_cam = self.world.ego.world_T_ego(time_s) @ camera.ego_T_cam
        shot = self._prepare(camera, time_s, world_T_cam, np.random.default_rng(key))
        grid = pixel_grid(camera.size_hw).reshape(-1, 2)
        origins, directions, depth_per_range = pixel_rays(camera, world_T_cam)
        hits = cast(self.still, shot.stage.surfaces, origins, directions)
        found = self._find(shot.stage, hits, origins, directions)
        rgb = self._colour(shot, camera, world_T_cam, grid, directions, found)
        velocity = velocities(hits, shot.stage.surfaces, shot.stage.later, STEP_S)
        flow = np.empty((len(grid), 2), np.float32)
        world_T_later = self.world.ego.world_T_ego(time_s + STEP_S) @ camera.ego_T_cam
        image_motion(
            found.point, directions, found.kind, velocity, invert(world_T_later), camera.K, STEP_S,
            grid, flow,
        )  # fmt: skip
        size, of_lens = camera.size_hw, np.random.default_rng([self.world.seed, 5, look])
        lens = make_lens(of_lens, self.world.light.mood == "night", self.jpeg)
        sun = sun_before(world_T_cam, self.world.light)
        image = camera_response(rgb.reshape(*size, 3), flow.reshape(*size, 2), lens, shot.rng, sun)
        depth_m = np.where(hits.kind > 0, hits.range_m * depth_per_range, 0.0)
        instance = self._instances(hits)
        moving = (hits.kind == ACTOR) & (instance != EGO_INSTANCE)
        moving[moving] = shot.stage.actor_moves[hits.actor[moving]]
        return ViewTruth(
            image,
            depth_m.reshape(size).astype(np.float32),
            instance.reshape(size).astype(np.int32),
            moving.reshape(size),
            velocity.reshape(*size, 3).astype(np.float32),
        )

    def _prepare(self, camera: Camera, time_s: float, world_T_cam, rng) -> Shot:
        lamps, stage = self.world.light.lamps, self.stage(time_s)
        beams = np.zeros((0, 6))
        if self.world.light.has_lamps_on:
            away = np.linalg.norm(lamps[:, :3] - world_T_cam[:3, 3], axis=1)
            lamps = lamps[np.argsort(away, kind="stable")[:LAMPS]]
            beams = self._beams(time_s, stage)
        return Shot(stage, beams, lamps, 1.0 / camera.K[0, 0], rng)

    def _beams(self, time_s: float, stage: Stage) -> Float[np.ndarray, "k 6"]:
        """Headlights of the ego car and of the nearest vehicles: place and direction."""
        world_T_ego = self.world.ego.world_T_ego(time_s)
        cars = [i for i, actor in enumerate(self.world.actors) if actor.has_headlights]
        away = np.linalg.norm(stage.world_T_actor[cars, :3, 3] - world_T_ego[:3, 3], axis=1)
        near = [cars[i] for i in np.argsort(away, kind="stable")[: BEAMS - 1]]
        rows = [np.r_[world_T_ego[:3] @ (3.7, 0, 0.65, 1), world_T_ego[:3, 0]]]
        for i in near:
            T = stage.world_T_actor[i]
            rows.append(
                np.r_[T[:3] @ (self.world.actors[i].size_lwh_m[0] / 2, 0, 0.6, 1), T[:3, 0]]
            )
        return np.stack(rows)

    def _find(self, stage: Stage, hits: Hits, origins, directions) -> Found:
        return find(hits, origins, directions, self.still, stage.surfaces)

    def _colour(self, shot: Shot, camera, world_T_cam, grid, directions, found: Found):
        """Linear RGB of all pixels, edges smoothed."""
        width = camera.size_hw[1]
        open_sky = self._open_sky(shot, found, width)
        lit = self._is_lit(shot, found, open_sky, width)
        rgb = self._shade(shot, found, directions, lit, open_sky)
        marked = np.zeros(len(grid), bool)
        mark_edges(
            found.kind, found.range_m, found.normal, found.material, found.colour, rgb, width,
            marked,
        )  # fmt: skip
        rows = np.flatnonzero(marked)
        if not len(rows):
            return rgb
        total = rgb[rows]
        for offset in EDGE_OFFSETS:
            o, d, _ = make_rays(camera, world_T_cam, grid[rows] + offset)
            hits = cast(self.still, shot.stage.surfaces, o, d)
            seen = self._find(shot.stage, hits, o, d)
            total += self._shade(shot, seen, d, lit[rows], open_sky[rows])
        rgb[rows] = total / (1 + len(EDGE_OFFSETS))
        return rgb

    def _open_sky(self, shot: Shot, found: Found, width: int) -> Float[np.ndarray, "n"]:
        """How much of the sky each pixel's surface sees, by rays that neighbours share."""
        key, height = int(shot.rng.integers(1 << 20)), len(found.kind) // width
        cells = -(-height // SKY_STEP) * -(-width // SKY_STEP)
        cell, (start, rays) = np.empty(cells, np.int32), np.empty((2, cells, 3), np.float32)
        count = sky_rays(
            found.kind, found.point, found.face, found.normal, width, key, cell, start, rays
        )
        clear = np.full(cells, np.nan, np.float32)
        clear[cell[:count]] = is_clear(self.still, shot.stage.surfaces, start[:count], rays[:count])
        out = np.empty(len(found.kind), np.float32)
        near = found.range_m, found.normal, width
        gather(clear, found.kind, *near, SKY_STEP, 1.0, out)
        return out

    def _is_lit(self, shot: Shot, found: Found, open_sky, width: int) -> Float[np.ndarray, "n"]:
        """How much of the sun (a soft disc) is seen; a clouded one is seen where the sky is."""
        softness, sun = self.world.light.packed[17], self.world.light.sun_direction
        if softness > SOFTEST:
            return open_sky
        n, key = len(found.kind), int(shot.rng.integers(1 << 20))
        rows, (start, rays) = np.empty(n, np.int32), np.empty((2, n, 3), np.float32)
        lit = np.zeros(n, np.float32)
        for second in (0, 1):
            count = sun_rays(
                found.kind, found.range_m, found.point, found.face, found.normal, found.material,
                width, second, sun, 2 * softness, key, lit, rows, start, rays,
            )  # fmt: skip
            clear = is_clear(self.still, shot.stage.surfaces, start[:count], rays[:count])
            lit[rows[:count]] = clear
        smooth = np.empty_like(lit)
        near = found.range_m, found.normal, width
        gather(lit, found.kind, *near, 1, 0.0, smooth)
        return smooth

    def _shade(self, shot: Shot, found: Found, directions, lit, open_sky, reflect: bool = True):
        mirrored = np.full((len(found.kind), 3), -1.0, np.float32)
        if reflect and self.world.light.packed[13] > 0:
            self._reflect(shot, found, directions, mirrored)
        rgb = np.empty((len(found.kind), 3), np.float32)
        shade_hits(
            tuple(found), np.ascontiguousarray(directions, np.float32), shot.pixel_rad, lit,
            open_sky, mirrored, self.world.roads, self.world.light.packed, shot.lamps, shot.beams,
            self.textures, rgb,
        )  # fmt: skip
        return rgb

    def _reflect(self, shot: Shot, found: Found, directions, mirrored) -> None:
        """Fill in what wet ground mirrors."""
        rows = np.flatnonzero(np.isin(found.material, WET_GROUND))
        rough = shot.rng.normal(0, 0.012, (len(rows), 3))
        out = directions[rows] * (1, 1, -1) + rough
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        origins = found.point[rows] + (0, 0, 0.03)
        hits = cast(self.still, shot.stage.surfaces, origins, out)
        seen = self._find(shot.stage, hits, origins, out)
        half = np.full(len(rows), 0.6, np.float32)
        mirrored[rows] = self._shade(shot, seen, out, half, half, reflect=False)

    def _instances(self, hits: Hits) -> Int[np.ndarray, "n"]:
        instance = np.full(len(hits.kind), -1, np.int64)
        rows = hits.kind == STILL
        instance[rows] = self.still.corners.instance[hits.triangle[rows]]
        rows = hits.kind == ACTOR
        instance[rows] = self.instance_of_actor[hits.actor[rows]]
        return instance


def make_rays(camera: Camera, world_T_cam, uv):
    """World origins, unit directions (both float32), and depth per range of pixel positions."""
    return _turn(*_unit_rays(camera, uv), world_T_cam)


def pixel_rays(camera: Camera, world_T_cam):
    """`make_rays` of all pixels' centres; a camera's own rays are kept between calls."""
    return _turn(*_unit_grid(camera), world_T_cam)


def _turn(unit_cam, depth_per_range, world_T_cam):
    origins, directions = np.empty((2, *unit_cam.shape), np.float32)
    shoot(unit_cam, np.zeros(len(unit_cam), np.int8), world_T_cam[None], origins, directions)
    return origins, directions, depth_per_range


@lru_cache(maxsize=32)
def _unit_grid(camera: Camera):
    return _unit_rays(camera, pixel_grid(camera.size_hw).reshape(-1, 2))


def _unit_rays(camera: Camera, uv):
    rays_cam = unproject(camera, uv)
    length = np.sqrt(np.einsum("nc,nc->n", rays_cam, rays_cam))
    return (rays_cam / length[:, None]).astype(np.float32), 1.0 / length
