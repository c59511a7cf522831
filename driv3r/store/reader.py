"""Reads a finished log: predictions as they were, points derived from depth, K and poses."""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from driv3r.errors import StoreError
from driv3r.geometry.rolling_shutter import lift_rolling
from driv3r.geometry.transforms import interpolate
from driv3r.settings import Provenance
from driv3r.store.arrays import open_array, read_array, read_view
from driv3r.store.codec import DEPTH
from driv3r.store.files import read_attributes
from driv3r.store.reconstruction import ObjectTrack, Reconstruction, RenderedView, Snapshot
from driv3r.store.schema import (
    PLAIN,
    SCHEMA,
    STAGES,
    STATUSES,
    FrameRecord,
    LogHeader,
    Status,
    header_hash,
)
from driv3r.store.units import read_prediction, read_record, read_shutters, unit_path
from driv3r.types import (
    Camera,
    EgoPoses,
    MovingObjects,
    Prediction,
    Repair,
    Rig,
    RollingShutter,
    Scale,
    Score,
    StaticMap,
)

_AGAIN = "run the same `driv3r process` command again; it continues"


class LogStore:
    """One log on the disk. `open` is the way in; the constructor does not look at the state.

    Every method raises StoreError where files are missing or damaged.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]):
        self.path = path
        self._attributes = attributes

    @classmethod
    def open(cls, path: Path) -> "LogStore":
        """Open a finished log; StoreError unless its schema is this one and it is complete."""
        path = Path(path)
        attributes = read_attributes(path)
        if attributes is None:
            raise StoreError(f"{path} holds no readable log (no root zarr.json): {_AGAIN}")
        if attributes.get("schema") != SCHEMA:
            raise StoreError(
                f"{path} has schema {attributes.get('schema')!r}, this version reads {SCHEMA!r}: "
                "process the log again into another folder"
            )
        if attributes.get("state") != "complete":
            raise StoreError(f"{path} has state {attributes.get('state')!r}: {_AGAIN}")
        return cls(path, attributes)

    @cached_property
    def header(self) -> LogHeader:
        """The header the log was written with; StoreError where its hash does not agree."""
        try:
            rig, full_cameras, crops = self._read_rig()
            plain = {name: self._attributes[name] for name in PLAIN}
            x, y, z = plain.pop("origin_world")
            header = LogHeader(
                rig=rig,
                full_cameras=full_cameras,
                crops=crops,
                time_us=read_array(self.path, "frames/time_us"),
                is_keyframe=read_array(self.path, "frames/is_keyframe"),
                provenance=Provenance(**self._attributes["provenance"]),
                origin_world=(float(x), float(y), float(z)),
                **plain,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self.path}: the header is damaged ({error!r}): {_AGAIN}") from error
        if header_hash(header) != self._attributes.get("header_hash"):
            raise StoreError(f"{self.path}: the header does not agree with its hash: {_AGAIN}")
        return header

    @property
    def log_id(self) -> str:
        """The log's name in its dataset."""
        return self.header.log_id

    @property
    def header_hash(self) -> str:
        """Tells this log from others, and from itself made otherwise."""
        return str(self._attributes["header_hash"])

    @property
    def voxel_m(self) -> float:
        """Side of the static map's voxels."""
        return float(self._read_attribute("static", "voxel_m"))

    @property
    def rig(self) -> Rig:
        """The cameras at the working size."""
        return self.header.rig

    @property
    def time_us(self) -> Int64[np.ndarray, "t"]:
        """Time of every frame."""
        return self.header.time_us

    @property
    def provenance(self) -> Provenance:
        """Settings, weights, sources and versions that the log was made with."""
        return self.header.provenance

    @cached_property
    def image_paths(self) -> tuple[tuple[str | None, ...], ...]:
        """Each view's image file relative to the dataset's root, by frame and camera."""
        return tuple(tuple(paths) for paths in self._read_attribute("frames", "image_paths"))

    @property
    def scale(self) -> Scale:
        """What the predictions are known up to."""
        return self.header.scale

    @property
    def ego_poses(self) -> EgoPoses:
        """Where the ego poses are from."""
        return self.header.ego_poses

    @cached_property
    def status(self) -> tuple[Status, ...]:
        """Status of every frame."""
        return tuple(STATUSES[code] for code in read_array(self.path, "frames/status"))

    @cached_property
    def reasons(self) -> tuple[tuple[str, ...], ...]:
        """Why each frame's status is what it is."""
        return tuple(tuple(reasons) for reasons in self._read_attribute("frames", "reasons"))

    def repairs(self) -> tuple[Repair, ...]:
        """What was missing or broken in the scene's input."""
        return tuple(Repair(**row) for row in self._read_group("frames").get("repairs", ()))

    def lineage(self, frame: int) -> dict[str, Any]:
        """A frame's work unit: input_hash, attempts, seconds, output digests, record."""
        return self._read_group(f"lineage/{unit_path(self.path, self._check_frame(frame)).name}")

    @cached_property
    def time_cam_us(self) -> Int64[np.ndarray, "t v"]:
        """Time of every view, -1 where a camera gave nothing."""
        return read_array(self.path, "poses/time_cam_us")

    @cached_property
    def _world_T_ego_cam(self) -> Float[np.ndarray, "t v 4 4"]:
        return read_array(self.path, "poses/world_T_ego")

    @cached_property
    def _prev_T_curr(self) -> Float[np.ndarray, "t 4 4"]:
        return read_array(self.path, "poses/prev_T_curr")

    def world_T_ego(self) -> Float[np.ndarray, "t 4 4"]:
        """The car at every frame's time."""
        return read_array(self.path, "frames/world_T_ego")

    def world_T_ego_cam(self) -> Float[np.ndarray, "t v 4 4"]:
        """The car at every view's own time, NaN where a camera gave nothing."""
        return self._world_T_ego_cam.copy()

    def record(self, frame: int) -> FrameRecord:
        """All that was written of one surround frame."""
        return read_record(self.path, self._check_frame(frame), self.rig.cameras, self.scale)

    def prediction(self, frame: int) -> Prediction:
        """What the network said of one surround frame, within the codes' errors."""
        self._check_frame(frame)
        prev_T_curr = self._prev_T_curr[frame]
        known = prev_T_curr if np.isfinite(prev_T_curr).all() else None
        return read_prediction(self.path, frame, self.rig.cameras, known, self.scale)

    def depth_m(self, frame: int, view: int) -> Float32[np.ndarray, "h w"]:
        """Depth of one view, NaN where there is none."""
        self._check_view(frame, view)
        return DEPTH.decode(read_view(self.path, "views/depth", frame, view))

    def valid_reason(self, frame: int, view: int) -> UInt8[np.ndarray, "h w"]:
        """Why a pixel has no depth, as the codes of driv3r.store.codec."""
        self._check_view(frame, view)
        return read_view(self.path, "views/valid_reason", frame, view)

    def points_world(self, frame: int, view: int) -> Float[np.ndarray, "h w 3"]:
        """Points of one view where the car was at the camera's own time, NaN without depth."""
        depth_m = self.depth_m(frame, view)
        camera = self.rig.cameras[view]
        world_T_cam = self._world_T_ego_cam[frame, view] @ camera.ego_T_cam
        return lift_rolling(camera, depth_m, world_T_cam, self.shutters(frame)[view])

    def shutters(self, frame: int) -> tuple[RollingShutter | None, ...]:
        """How each camera moved while its lines were read; None where they were read at once."""
        return read_shutters(self.path, self._check_frame(frame), len(self.rig.cameras))

    def count_voxels(self) -> int:
        """How many voxels the still world has, without reading them."""
        return open_array(self.path, "static/index").shape[0]

    def track_ids(self) -> Int64[np.ndarray, "m"]:
        """The track of every state of a moving object."""
        return read_array(self.path, "dynamic/track_id")

    def static(self) -> StaticMap:
        """The still world, in the order of driv3r.store.morton."""
        return StaticMap(voxel_m=self.voxel_m, **self._read_fields(StaticMap, "static"))

    def moving(self) -> MovingObjects:
        """The moving objects' states and points."""
        self._read_group("dynamic")
        return MovingObjects(**self._read_fields(MovingObjects, "dynamic"))

    def reconstruction(self) -> Reconstruction | None:
        """Static map and moving objects; None of a log that was not fused."""
        fused = (self.path / "static").is_dir() and (self.path / "dynamic").is_dir()
        return Reconstruction(self.static(), self.moving()) if fused else None

    @cached_property
    def _fused(self) -> Reconstruction:
        fused = self.reconstruction()
        if fused is None:
            raise StoreError(f"{self.path} was not fused: it has no static map and no objects")
        return fused

    def at(self, time_us: int) -> Snapshot:
        """The world at a time, also between frames."""
        return self._fused.at(time_us)

    def box(
        self,
        low_world_m: Float[np.ndarray, "3"],
        high_world_m: Float[np.ndarray, "3"],
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> Reconstruction:
        """Voxels in a box of the world, and the objects' states in it between two times."""
        return self._fused.box(low_world_m, high_world_m, start_us, end_us)

    def track(self, track_id: int) -> ObjectTrack:
        """One moving object through the log."""
        return self._fused.track(track_id)

    def camera(self, name: str, time_us: int) -> RenderedView:
        """The reconstruction as one of the rig's cameras sees it at a time within the log."""
        cameras = {camera.name: camera for camera in self.rig.cameras}
        if name not in cameras:
            raise StoreError(f"log {self.log_id} has cameras {list(cameras)}, not {name!r}")
        world_T_ego = self.world_T_ego()
        placed = np.isfinite(world_T_ego).all((1, 2))
        known_us = self.time_us[placed]
        if not len(known_us) or not known_us[0] <= time_us <= known_us[-1]:
            raise StoreError(
                f"log {self.log_id} has poses from {known_us[:1]} to {known_us[-1:]} us, "
                f"not at {time_us}"
            )
        ego = interpolate(known_us, world_T_ego[placed], np.array([time_us]))[0]
        return self._fused.camera(cameras[name], ego @ cameras[name].ego_T_cam, time_us)

    def protocols(self) -> tuple[str, ...]:
        """Names of the protocols under which the log was scored."""
        return tuple(sorted(p.parent.name for p in (self.path / "eval").glob("*/zarr.json")))

    def scores(self) -> tuple[Score, ...]:
        """Every figure of every protocol."""
        rows = [
            row for p in self.protocols() for row in self._read_attribute(f"eval/{p}", "scores")
        ]
        return tuple(
            Score(**row | {"value": float("nan") if row["value"] is None else row["value"]})
            for row in rows
        )

    def scores_card(self, protocol: str) -> dict[str, Any]:
        """The protocol's own description."""
        return self._read_attribute(f"eval/{protocol}", "card")

    def scores_lost(self, protocol: str) -> dict[str, int]:
        """How many truth points each filter of the protocol left out."""
        return self._read_attribute(f"eval/{protocol}", "lost")

    def scores_per_view(self, protocol: str) -> dict[str, np.ndarray]:
        """The protocol's arrays per view, by name."""
        folder = f"eval/{protocol}"
        self._read_group(folder)
        names = sorted(p.parent.name for p in (self.path / folder).glob("*/zarr.json"))
        return {name: read_array(self.path, f"{folder}/{name}") for name in names}

    def pictures(self) -> dict[str, bytes]:
        """JPEG files for a report, by title."""
        titles = self._read_attribute("pictures", "titles")
        return {
            title: read_array(self.path, f"pictures/{i:04d}").tobytes()
            for i, title in enumerate(titles)
        }

    def seconds(self) -> dict[str, float]:
        """How long each stage of making the log took."""
        return dict(self._read_group(f"lineage/{STAGES}").get("seconds", ()))

    def _read_rig(self) -> tuple[Rig, tuple[Camera, ...], tuple[tuple[int, int, int, int], ...]]:
        """The rig at the working size, the recorded images' cameras, and the crops of those."""
        attributes = self._read_group("rig")
        ego_T_cam, lidar = read_array(self.path, "rig/ego_T_cam"), attributes["ego_T_lidar"]
        working, full = (
            tuple(
                Camera(name, K[i], (size_hw[0], size_hw[1]), ego_T_cam[i])
                for i, (name, size_hw) in enumerate(
                    zip(attributes["names"], attributes[f"{which}sizes_hw"], strict=True)
                )
            )
            for which, K in (
                ("", read_array(self.path, "rig/K")),
                ("full_", read_array(self.path, "rig/full_K")),
            )
        )
        full = tuple(
            dataclasses.replace(camera, **lens | {"distortion": tuple(lens["distortion"])})
            for camera, lens in zip(full, attributes["full_lenses"], strict=True)
        )
        ego_T_lidar = None if lidar is None else np.array(lidar, np.float64)
        crops = tuple((y0, x0, h, w) for y0, x0, h, w in attributes["crops_y0_x0_h_w"])
        return Rig(working, ego_T_lidar, attributes["ground_z_m"]), full, crops

    def _read_group(self, name: str) -> dict[str, Any]:
        attributes = read_attributes(self.path / name)
        if attributes is None:
            raise StoreError(
                f"{self.path} has no {name}/: it was not made for this log, or is lost"
            )
        return attributes

    def _read_attribute(self, group: str, key: str) -> Any:
        attributes = self._read_group(group)
        if key not in attributes:
            raise StoreError(f"{self.path / group / 'zarr.json'} lacks {key!r}: {_AGAIN}")
        return attributes[key]

    def _read_fields(self, kind: type, group: str) -> dict[str, np.ndarray]:
        names = [f.name for f in dataclasses.fields(kind) if f.name != "voxel_m"]
        return {name: read_array(self.path, f"{group}/{name}") for name in names}

    def _check_frame(self, frame: int) -> int:
        if not 0 <= frame < len(self.time_us):
            raise StoreError(
                f"log {self.log_id} has frames 0..{len(self.time_us) - 1}, not {frame}"
            )
        return frame

    def _check_view(self, frame: int, view: int) -> None:
        self._check_frame(frame)
        if not 0 <= view < len(self.rig.cameras):
            raise StoreError(
                f"log {self.log_id} has views 0..{len(self.rig.cameras) - 1}, not {view}"
            )


def open_log(path: str | Path) -> LogStore:
    """A finished log: predictions, points, static map, moving objects, scores.

    Raises StoreError unless it is complete and of this version's schema.
    """
    return LogStore.open(Path(path))
