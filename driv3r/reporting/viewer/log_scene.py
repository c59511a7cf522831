"""A log as what a viewer shows of it: layers of points, lines, and cameras, at a time."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_shutters
from driv3r.errors import StoreError
from driv3r.evaluation.metrics.depth import sample_depth
from driv3r.evaluation.metrics.lidar_projection import project_annotated, project_sweep
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.geometry.rolling_shutter import lift_rolling
from driv3r.geometry.transforms import apply, interpolate, invert
from driv3r.reporting.birds_eye import TRACK_RGB
from driv3r.reporting.images import GREY
from driv3r.reporting.viewer.point_layers import PointLayer
from driv3r.store.reader import LogStore
from driv3r.store.reconstruction import Reconstruction
from driv3r.types import Camera, Frame, Images, Scene, Sweep, Transform

LIDAR_RGB = np.array([140, 190, 255], np.uint8)
FARTHEST_M = 80.0  # of depth points
_CORNERS = np.array(list(np.ndindex(2, 2, 2))) - 0.5
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1]


@dataclass(frozen=True, eq=False)
class Segments:
    """Lines, each from one point to another."""

    points_local: Float[np.ndarray, "n 2 3"]
    rgb: UInt8[np.ndarray, "n 2 3"]


class LogScene:
    """One fused log. With its dataset at `root` there are images and LiDAR too.

    Places are those of the log's world less `origin_world`, the car's first place, so that 32-bit
    floats are exact enough. Raises StoreError for a log that was not fused or has no pose, and
    DatasetError where the dataset is not the log's.
    """

    def __init__(self, store: LogStore, root: Path | None = None):
        self.store, self.root = store, root
        fused = store.reconstruction()
        if fused is None:
            raise StoreError(f"{store.path} was not fused: it has no static map to show")
        self.fused: Reconstruction = fused
        self.world_T_ego = store.world_T_ego()
        self.placed = np.isfinite(self.world_T_ego).all((1, 2))
        if not self.placed.any():
            raise StoreError(f"{store.path} has no frame with a pose, so there is no path to show")
        self.origin_world = self.world_T_ego[self.placed][0, :3, 3]
        self.scene: Scene | None = None if root is None else _read_scene(store, root)
        # One frame each: a viewer shows one, and steps to the next.
        self._read_frame = lru_cache(2)(self._open_frame)

    @property
    def seconds(self) -> float:
        """How long the log is."""
        return float(self.store.time_us[-1] - self.store.time_us[0]) * 1e-6

    @property
    def scale_note(self) -> str:
        """What metres are worth in a log that is up to scale; empty in a metric one."""
        if self.store.scale == "metric":
            return ""
        return "Up to scale: metres as far as what is assumed of the cameras is true."

    def time_us(self, seconds: float | int) -> int:
        """The time of the log so many seconds after its first frame."""
        return int(self.store.time_us[0]) + round(seconds * 1e6)

    def frame_at(self, time_us: int) -> int:
        """The last frame at or before a time."""
        return max(int(np.searchsorted(self.store.time_us, time_us, side="right")) - 1, 0)

    def ego_at(self, time_us: int) -> Transform:
        """local_T_ego between the frames."""
        times = self.store.time_us[self.placed]
        return self._localise(
            interpolate(times, self.world_T_ego[self.placed], np.array([time_us]))[0]
        )

    def _localise(self, world_T_src: Transform) -> Transform:
        local_T_src = world_T_src.copy()
        local_T_src[:3, 3] -= self.origin_world
        return local_T_src

    @cached_property
    def static(self) -> PointLayer:
        """The static map, each voxel with its weight and how often it was seen."""
        static = self.fused.static
        points = static.points_world - self.origin_world
        values = {"weight": static.weight.astype(float), "hits": static.hits.astype(float)}
        return PointLayer("static map", points.astype(np.float32), static.rgb, values)

    def objects(self, time_us: int) -> tuple[PointLayer, Segments]:
        """Moving objects at a time: their points and their boxes."""
        snapshot = self.fused.at(time_us)
        motion = {"motion": np.ones(len(snapshot.points_world))}
        layer = PointLayer(
            "moving object",
            (snapshot.points_world - self.origin_world).astype(np.float32),
            snapshot.points_rgb,
            motion,
            snapshot.points_track,
        )
        boxes, colours = [np.zeros((0, 2, 3))], [np.zeros((0, 2, 3), np.uint8)]
        rows = zip(snapshot.track_id, snapshot.world_T_object, snapshot.size_m, strict=True)
        for track_id, world_T_object, size_m in rows:
            corners = apply(self._localise(world_T_object), _CORNERS * np.maximum(size_m, 0.3))
            boxes.append(corners[np.array(_EDGES)])
            colours.append(_paint(len(_EDGES), _track_rgb(int(track_id))))
        return layer, Segments(np.concatenate(boxes), np.concatenate(colours))

    def trails(self, time_us: int) -> Segments:
        """The ways of all objects up to a time."""
        moving = self.fused.moving
        lines, colours = [np.zeros((0, 2, 3))], [np.zeros((0, 2, 3), np.uint8)]
        for track_id in np.unique(moving.track_id):
            states = np.flatnonzero((moving.track_id == track_id) & (moving.time_us <= time_us))
            states = states[np.argsort(moving.time_us[states], kind="stable")]
            way = _chain(moving.world_T_object[states, :3, 3] - self.origin_world)
            lines.append(way)
            colours.append(_paint(len(way), _track_rgb(int(track_id))))
        return Segments(np.concatenate(lines), np.concatenate(colours))

    @cached_property
    def path(self) -> Segments:
        """The driven path, just above the road."""
        places = self.world_T_ego[self.placed, :3, 3] - self.origin_world
        way = _chain(places + np.array([0.0, 0.0, 0.2]))
        return Segments(way, _paint(len(way), (255, 255, 255)))

    def camera_at(self, frame: int, view: int) -> tuple[Camera, Transform] | None:
        """A camera and local_T_cam at its own time; None where it gave nothing."""
        camera = self.store.rig.cameras[view]
        world_T_ego = self.store.world_T_ego_cam()[frame, view]
        if not np.isfinite(world_T_ego).all():
            return None
        return camera, self._localise(world_T_ego @ camera.ego_T_cam)

    def images(self, frame: int) -> Images:
        """Each camera's image at the working size, None where there is none."""
        if self.root is None:
            return [None] * len(self.store.rig.cameras)
        return self._read_frame(frame)[1]

    def depth_points(self, frame: int, stride: int) -> PointLayer:
        """The depth of a frame's cameras, every `stride`-th pixel across and down."""
        images, prediction = self.images(frame), self.store.prediction(frame)
        points, rgb, sigma, motion = [], [], [], []
        shutters = self.store.shutters(frame)
        for view, image in enumerate(images):
            placed = self.camera_at(frame, view)
            if placed is None:
                continue
            depth_m = prediction.depth_m[view]
            lifted = lift_rolling(placed[0], depth_m, placed[1], shutters[view])
            lifted = lifted[::stride, ::stride]
            kept = (depth_m < FARTHEST_M)[::stride, ::stride] & np.isfinite(lifted).all(-1)
            points.append(lifted[kept])
            shown = np.tile(GREY, (*depth_m.shape, 1)) if image is None else image
            rgb.append(shown[::stride, ::stride][kept])
            sigma.append(prediction.sigma[view, ::stride, ::stride][kept])
            motion.append(prediction.motion[view, ::stride, ::stride][kept])
        values = {"sigma": _join(sigma), "motion": _join(motion)}
        colours = np.concatenate([np.zeros((0, 3), np.uint8), *rgb])
        places = np.concatenate([np.zeros((0, 3)), *points]).astype(np.float32)
        return PointLayer("depth", places, colours, values)

    def lidar_points(self, frame: int) -> PointLayer:
        """A frame's sweep, carried from the dataset's path to the log's; empty without one."""
        place = self._place_sweep(frame)
        if place is None:
            return PointLayer("LiDAR", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
        sweep, local_T_world = place
        points_world = apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))
        points = apply(local_T_world, points_world).astype(np.float32)
        return PointLayer("LiDAR", points, np.tile(LIDAR_RGB, (len(points), 1)))

    def error_points(self, frame: int) -> PointLayer:
        """The true points that the log's protocol scores, with |depth - truth| / truth."""
        place = self._place_sweep(frame)
        places, errors = [np.zeros((0, 3))], [np.zeros(0)]
        if place is not None:
            sweep, local_T_world = place
            protocol = choose_protocol(str(self.store.provenance.settings["protocol"]))
            prediction = self.store.prediction(frame)
            record = self._read_frame(frame)[0]
            shutters = prepare_shutters(record, self._work)
            for view, shot in enumerate(record.views):
                if shot is None:
                    continue
                camera = self.store.rig.cameras[view]
                if protocol.truth == "sweep":
                    placing = camera, shot.world_T_cam, protocol, shutters[view]
                    truth = project_sweep(sweep, *placing)
                elif shot.annotated_cam is not None:
                    truth = project_annotated(shot.annotated_cam, camera, protocol)
                else:
                    continue
                predicted_m = sample_depth(prediction.depth_m[view], truth.uv)
                errors.append(np.abs(predicted_m - truth.depth_m) / truth.depth_m)
                places.append(apply(local_T_world @ shot.world_T_cam, truth.lift(camera)))
        points = np.concatenate(places).astype(np.float32)
        values = {"error": np.concatenate(errors)}
        return PointLayer("LiDAR", points, np.tile(LIDAR_RGB, (len(points), 1)), values)

    def _place_sweep(self, frame: int) -> tuple[Sweep, Transform] | None:
        """A frame's sweep, and what maps the dataset's world to ours by the car's two poses."""
        if self.root is None or not self.placed[frame]:
            return None
        record = self._read_frame(frame)[0]
        if record.sweep is None:
            return None
        local_T_ego = self._localise(self.world_T_ego[frame])
        return record.sweep, local_T_ego @ invert(record.world_T_ego)

    @cached_property
    def _work(self) -> WorkRig:
        header = self.store.header
        return WorkRig(header.rig, header.crops, header.full_cameras)

    def _open_frame(self, frame: int) -> tuple[Frame, Images]:
        assert self.scene is not None  # only asked for with a root
        record = self.scene.frames[frame]
        return record, prepare_images(record, self._work)


def _read_scene(store: LogStore, root: Path) -> Scene:
    sweeps = bool(store.provenance.settings.get("sweeps", False))
    scene = open_dataset(store.header.dataset, root, sweeps=sweeps).read(store.log_id)
    if scene.time_us.tolist() != store.time_us.tolist():
        raise StoreError(
            f"{store.path} has {len(store.time_us)} frames at other times than scene {scene.id} of "
            f"{root} ({len(scene.frames)}); give the --root it was made from"
        )
    return scene


def _track_rgb(track_id: int) -> tuple[int, ...]:
    return TRACK_RGB[track_id % len(TRACK_RGB)]


def _paint(n: int, rgb: tuple[int, ...]) -> UInt8[np.ndarray, "n 2 3"]:
    return np.tile(np.array(rgb, np.uint8), (n, 2, 1))


def _chain(places: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "m 2 3"]:
    pairs = [np.stack(pair) for pair in pairwise(places)]
    return np.stack(pairs) if pairs else np.zeros((0, 2, 3))


def _join(parts: list[np.ndarray]) -> Float[np.ndarray, "n"]:
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)
