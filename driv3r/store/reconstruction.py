"""A log's 4D reconstruction and the questions asked of it: a time, a box, a track, a camera."""

from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, UInt8

from driv3r.errors import ConfigError, StoreError
from driv3r.geometry.cameras import cached_rays
from driv3r.geometry.transforms import apply, from_rotvec, invert, make_transform, to_rotvec
from driv3r.store.morton import TILE_M, count_tile_voxels
from driv3r.types import Camera, MovingObjects, StaticMap, Transform

STATIC = -1  # in place of a track
# Radii of discs: of a voxel of known normal (a square of one voxel, corners and a bit), of one that
# faces the camera for want of a normal, and of an object's point.
DISC_VOXELS, LOOSE_DISC_VOXELS, OBJECT_DISC_M = 0.8, 0.5, 0.1
NEAREST_M, FARTHEST_M = 0.3, 120.0  # of what is drawn, but for tiles' corners
BEYOND_M = FARTHEST_M + 2 * TILE_M
MOST_WEIGHT, OBJECT_WEIGHT = 64, 16


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """One moving object: m states in order of time, and its shape. Fields as of MovingObjects."""

    track_id: int
    time_us: Int64[np.ndarray, "m"]
    world_T_object: Float[np.ndarray, "m 4 4"]
    velocity_world_mps: Float[np.ndarray, "m 3"]
    velocity_sigma_mps: Float[np.ndarray, "m"]
    observed: Bool[np.ndarray, "m"]
    size_m: Float[np.ndarray, "3"]
    quality: float
    points_object: Float[np.ndarray, "p 3"]
    points_rgb: UInt8[np.ndarray, "p 3"]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The world at one time: k objects among what stands."""

    time_us: int
    static: StaticMap
    track_id: Int[np.ndarray, "k"]
    world_T_object: Float[np.ndarray, "k 4 4"]
    size_m: Float[np.ndarray, "k 3"]
    points_world: Float[np.ndarray, "p 3"]  # of the objects
    points_rgb: UInt8[np.ndarray, "p 3"]
    points_track: Int[np.ndarray, "p"]


@dataclass(frozen=True, eq=False)
class RenderedView:
    """The reconstruction seen by a camera: NaN depth and track -1 where it has nothing."""

    depth_m: Float[np.ndarray, "h w"]
    rgb: UInt8[np.ndarray, "h w 3"]
    track: Int[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What fusion makes of a log. Times are those of the log, places in its world."""

    static: StaticMap
    moving: MovingObjects

    def track(self, track_id: int) -> ObjectTrack:
        """One object through the log; StoreError where there is no such track."""
        moving = self.moving
        rows = np.flatnonzero(moving.track_id == track_id)
        if not len(rows):
            raise StoreError(
                f"there is no track {track_id}: tracks are {np.unique(moving.track_id).tolist()}"
            )
        rows = rows[np.argsort(moving.time_us[rows])]
        points = moving.points_track == track_id
        names = ("time_us", "world_T_object", "velocity_world_mps", "velocity_sigma_mps")
        return ObjectTrack(
            track_id,
            **{name: getattr(moving, name)[rows] for name in (*names, "observed")},
            size_m=moving.size_m[track_id],
            quality=float(moving.quality[track_id]),
            points_object=moving.points_object[points],
            points_rgb=moving.points_rgb[points],
        )

    def at(self, time_us: int) -> Snapshot:
        """The world at a time, also between frames; an object is there while its track lasts."""
        moving = self.moving
        ids, world_T_object = self._place_objects(time_us)
        points = [np.flatnonzero(moving.points_track == k) for k in ids]
        rows = np.concatenate([np.zeros(0, np.int64), *points])
        placed = [
            apply(place, moving.points_object[r].astype(np.float64))
            for place, r in zip(world_T_object, points, strict=True)
        ]
        return Snapshot(
            time_us,
            self.static,
            ids,
            world_T_object,
            moving.size_m[ids],
            np.concatenate([np.zeros((0, 3)), *placed]),
            moving.points_rgb[rows],
            np.asarray(moving.points_track[rows], np.int64),
        )

    def box(
        self,
        low_world_m: Float[np.ndarray, "3"],
        high_world_m: Float[np.ndarray, "3"],
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> "Reconstruction":
        """What lies in a box: voxels, and states of objects between two times, both included.

        Track numbers stay what they are; points are those of tracks that have a state left.
        """
        rows = self._rows_near(low_world_m, high_world_m)
        static = self.static.take(rows)
        inside = _is_inside(static.points_world, low_world_m, high_world_m)
        moving = self.moving
        states = _is_inside(moving.world_T_object[:, :3, 3], low_world_m, high_world_m)
        if start_us is not None:
            states &= moving.time_us >= start_us
        if end_us is not None:
            states &= moving.time_us <= end_us
        points = np.isin(moving.points_track, moving.track_id[states])
        by_track = {"size_m": slice(None), "quality": slice(None)}
        chosen = {
            f.name: getattr(moving, f.name)[
                by_track.get(f.name, points if f.name.startswith("points_") else states)
            ]
            for f in fields(moving)
        }
        return Reconstruction(static.take(inside), replace(moving, **chosen))

    def camera(self, camera: Camera, world_T_cam: Transform, time_us: int) -> RenderedView:
        """Depth, colour and tracks as a camera sees them at a time, by splatting small discs.

        Discs (Zwicker et al., Surface Splatting, 2001) lie in the surface where its normal is
        known. ConfigError without numba.
        """
        snapshot, discs = self.at(time_us), self._discs
        n, m = len(self.static.index), len(snapshot.points_world)
        objects = _Discs(
            snapshot.points_world.astype(np.float32),
            np.full((m, 3), np.nan, np.float32),
            np.full(m, OBJECT_DISC_M, np.float32),
            np.full(m, OBJECT_WEIGHT, np.float32),
            snapshot.points_rgb,
        )
        first, last = self._spans_ahead(camera, world_T_cam)
        spans = np.append(first, n), np.append(last, n + m)
        depth_m, rgb, row = _draw(camera, invert(world_T_cam), discs.join(objects), *spans)
        track = np.concatenate([np.full(n, STATIC), snapshot.points_track, [STATIC]])
        return RenderedView(depth_m, rgb, track[row])

    @cached_property
    def _discs(self) -> "_Discs":
        """Those of the static map."""
        static = self.static
        known = static.normal.any(-1)
        radius_m = static.voxel_m * np.where(known, DISC_VOXELS, LOOSE_DISC_VOXELS)
        return _Discs(
            static.points_world.astype(np.float32),
            static.normals_world.astype(np.float32),
            radius_m.astype(np.float32),
            np.minimum(static.weight, MOST_WEIGHT).astype(np.float32),
            static.rgb,
        )

    def _place_objects(self, time_us: int) -> tuple[Int64[np.ndarray, "k"], np.ndarray]:
        """Tracks that last at a time and their world_T_object [k 4 4], between two states each."""
        moving = self.moving
        time = moving.time_us
        order = np.lexsort((time, moving.track_id))
        track = moving.track_id[order]
        before = np.flatnonzero(time[order] <= time_us)
        ids, last = np.unique(track[before][::-1], return_index=True)
        earlier = before[::-1][last]  # of each track the last state before the time
        later = np.minimum(earlier + 1, len(order) - 1)
        exact = time[order[earlier]] == time_us
        there = exact | (track[later] == ids) & (time[order[later]] >= time_us)
        a, b = order[earlier[there]], order[np.where(exact, earlier, later)[there]]
        share = (time_us - time[a]) / np.maximum(time[b] - time[a], 1)
        start, end = moving.world_T_object[a], moving.world_T_object[b]
        turn = share[:, None] * to_rotvec(invert(start) @ end)
        place = start[:, :3, 3] + share[:, None] * (end - start)[:, :3, 3]
        rotation = start[:, :3, :3] @ from_rotvec(turn, np.zeros_like(turn))[:, :3, :3]
        return np.asarray(ids[there], np.int64), make_transform(rotation, place)

    @cached_property
    def _tiles(self) -> tuple[Float[np.ndarray, "t 3"], Int64[np.ndarray, "s"]]:
        """Low corner of every tile (m), and the row that each starts at, with the end."""
        edge = count_tile_voxels(self.static.voxel_m)
        tile = np.floor_divide(self.static.index, edge)
        n = len(tile)
        start = np.flatnonzero((np.diff(tile, axis=0, prepend=tile[:1] - 1) != 0).any(-1))
        return tile[start] * edge * self.static.voxel_m, np.append(start, n)

    def _rows_near(self, low_m: np.ndarray, high_m: np.ndarray) -> Int64[np.ndarray, "n"]:
        corner_m, start = self._tiles
        size_m = count_tile_voxels(self.static.voxel_m) * self.static.voxel_m
        near = ((corner_m <= high_m) & (corner_m + size_m >= low_m)).all(-1)
        return _join_rows(start, near)

    def _spans_ahead(
        self, camera: Camera, world_T_cam: Transform
    ) -> tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "k"]]:
        """First and last row of the tiles that may be in a camera's sight."""
        corner_m, start = self._tiles
        reach_m = TILE_M * np.sqrt(3) / 2
        middle = apply(invert(world_T_cam), corner_m + TILE_M / 2)
        edge_tan = np.abs(cached_rays(camera)[..., 0]).max()  # of the widest ray to a side
        beside_m = (np.abs(middle[:, 0]) - edge_tan * middle[:, 2]) / np.hypot(1, edge_tan)
        near = (middle[:, 2] > -reach_m) & (middle[:, 2] < FARTHEST_M) & (beside_m < reach_m)
        chosen = np.flatnonzero(near)
        return start[chosen], start[chosen + 1]


def _join_rows(start: np.ndarray, chosen: np.ndarray) -> Int64[np.ndarray, "n"]:
    spans = [np.arange(start[i], start[i + 1]) for i in np.flatnonzero(chosen)]
    return np.concatenate([np.zeros(0, np.int64), *spans])


def _is_inside(points: np.ndarray, low_m: np.ndarray, high_m: np.ndarray) -> np.ndarray:
    return ((points >= low_m) & (points <= high_m)).all(-1)


@dataclass(frozen=True, eq=False)
class _Discs:
    """Discs that are drawn: a normal of NaN faces the camera."""

    center_world: Float[np.ndarray, "n 3"]
    normal_world: Float[np.ndarray, "n 3"]
    radius_m: Float[np.ndarray, "n"]
    weight: Float[np.ndarray, "n"]
    rgb: UInt8[np.ndarray, "n 3"]

    def join(self, other: "_Discs") -> "_Discs":
        """All of both."""
        if not len(other.radius_m):
            return self
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Discs(*map(np.concatenate, pairs))


def _draw(
    camera: Camera,
    cam_T_world: Transform,
    discs: _Discs,
    first: Int64[np.ndarray, "k"],
    last: Int64[np.ndarray, "k"],
) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w 3"], Int[np.ndarray, "h w"]]:
    """Depth (m, NaN where no disc is), colour, and the disc that is seen, -1 for none.

    Discs are those of the rows from `first` to `last`.
    """
    try:
        from driv3r.kernels.surfel_splatting import average, cull_discs, draw_discs
    except ImportError as error:
        raise ConfigError(
            "rendering needs numba, which is not installed: pip install 'driv3r[torch]'"
        ) from error
    n = len(discs.radius_m)
    row, (center, place) = np.empty(n, np.int32), np.empty((2, n, 3), np.float32)
    T = cam_T_world.astype(np.float32)
    count = cull_discs(
        first, last, discs.center_world, discs.radius_m, T, camera.K.astype(np.float32),
        camera.size_hw, NEAREST_M, row, center, place,
    )  # fmt: skip
    # A radix sort of depth in steps of a few millimetres; what is beyond comes last.
    steps = np.minimum(center[:count, 2], BEYOND_M) * (65535 / BEYOND_M)
    order = np.argsort(steps.astype(np.uint16), kind="stable")
    nearest_m = np.full(camera.size_hw, np.inf, np.float32)
    seen = np.full(camera.size_hw, -1, np.int32)
    sums = np.zeros((*camera.size_hw, 5), np.float32)
    draw_discs(
        order, row, center, place, discs.normal_world, discs.radius_m, discs.weight, discs.rgb, T,
        _rays(camera), nearest_m, seen, sums,
    )  # fmt: skip
    depth_m, rgb = np.empty(camera.size_hw, np.float32), np.empty((*camera.size_hw, 3), np.uint8)
    average(sums, depth_m, rgb)
    return depth_m, rgb, seen


@lru_cache(maxsize=32)
def _rays(camera: Camera) -> Float[np.ndarray, "h w 3"]:
    return cached_rays(camera).astype(np.float32)
