"""Writes one log into a staging folder, frame by frame, so that a killed run can go on."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from driv3r.errors import StoreError
from driv3r.store import files, units
from driv3r.store.arrays import create_array, write_array
from driv3r.store.manifest import write_manifest
from driv3r.store.morton import TILE_M, count_tile_voxels, morton_order
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import (
    MEMORY_FILE,
    SCHEMA,
    STAGES,
    STATUSES,
    VIEW_ATTRIBUTES,
    ArraySpec,
    FrameRecord,
    LogHeader,
    check_header,
    check_name,
    check_record,
    describe_rig,
    describe_root,
    header_hash,
    is_rigid,
    list_log_arrays,
    list_moving_arrays,
    list_static_arrays,
    size_of,
    spec_whole,
)
from driv3r.types import MovingObjects, Repair, Score, StaticMap

_ROOM = ".room" + files.PARTIAL  # where a group is built before it takes its name


class LogWriter:
    """Owns the staging folder of one attempt at a log; only one writer may use it at a time.

    Resumes when the folder holds the same header's hash, else starts afresh. The same records give
    the same bytes everywhere but in lineage/, whatever the order of the calls and the process.
    Raises StoreError for a header that can not be stored, or a folder that holds something else.
    """

    def __init__(self, staging: Path, header: LogHeader):
        check_header(header)
        self._folder, self._header = Path(staging), header
        if files.read_state(self._folder) != ("incomplete", header_hash(header)):
            self._start_afresh()
        files.clear_partial(self._folder)
        files.write_group(self._folder / "lineage", {})  # what was sealed is open again

    def written(self) -> frozenset[int]:
        """Frames whose work unit is complete and whose digests still hold."""
        frames = range(len(self._header.time_us))
        return frozenset(f for f in frames if units.read_unit(self._folder, f) is not None)

    def write_frame(self, index: int, record: FrameRecord) -> None:
        """Write one surround frame; when this returns, it counts as written."""
        check_record(self._header, index, record)
        units.write_unit(self._folder, index, record)

    def read_frame(self, index: int) -> FrameRecord:
        """A written frame as a reader of the finished log will find it, codes' errors included.

        What follows the frames starts from this, so that a resumed run gives the same bytes.
        Raises StoreError where the frame is not written or is damaged.
        """
        cameras = self._header.rig.cameras
        return units.read_record(self._folder, index, cameras, self._header.scale)

    def save_state(self, index: int, tensors: dict[str, np.ndarray]) -> None:
        """Keep the network's temporal memory after frame `index`, in place of an earlier one."""
        data = safetensors.numpy.save(
            {name: np.ascontiguousarray(a) for name, a in tensors.items()},
            metadata={"frame": str(index)},
        )
        files.write_atomically(self._folder / MEMORY_FILE, data)

    def load_state(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The last saved memory and its frame, None where there is no readable one."""
        try:
            with safetensors.safe_open(self._folder / MEMORY_FILE, framework="np") as file:
                frame = int(file.metadata()["frame"])
                return frame, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
            return None

    def write_repairs(self, repairs: Sequence[Repair]) -> None:
        """Record what was missing or broken in the scene's input, and how often."""
        attributes = {
            "repairs": [dataclasses.asdict(repair) for repair in repairs],
            "repair_counts": Counter(repair.reason for repair in repairs),
        }
        files.write_group(self._folder / "frames", attributes)

    def write_reconstruction(self, reconstruction: Reconstruction) -> None:
        """Write static/ (sorted if it is not) and dynamic/ in place of earlier ones."""
        static, moving = sort_static(reconstruction.static), reconstruction.moving
        attributes = {
            "voxel_m": static.voxel_m,
            "tile_m": TILE_M,
            "tile_voxels": count_tile_voxels(static.voxel_m),
            "order": "tile (x, y, z), then Morton code in the tile, x in the lowest bit",
        }
        specs = _check_moving(moving)
        self._replace_group("static", attributes, static, list_static_arrays(len(static.index)))
        meaning = {"track_id, points_track": "row of size_m and quality"}
        self._replace_group("dynamic", meaning, moving, specs)

    def write_scores(
        self,
        protocol: str,
        card: dict[str, Any],
        scores: Sequence[Score],
        per_view: dict[str, np.ndarray],
        lost: dict[str, int],
        dims: tuple[str, ...] = ("scored_frame", "camera"),
    ) -> None:
        """Write eval/<protocol>/: the figures, arrays of them (axes `dims`), counts per filter."""
        check_name(protocol, "protocol")
        for score in scores:
            if score.protocol != protocol or math.isinf(score.value):
                raise StoreError(f"{score} is not a finite (or NaN) figure of protocol {protocol}")
        for name, values in per_view.items():
            check_name(name, "per-view array")
            if values.dtype.kind not in "biuf":
                raise StoreError(f"per-view {name} has type {values.dtype}; expected numbers")
        rows = [dataclasses.asdict(s) for s in scores]
        for row in rows:
            row["value"] = None if math.isnan(row["value"]) else row["value"]
        axes = " ".join(dims)
        specs = {n: spec_whole(a.dtype.name, axes, *a.shape) for n, a in per_view.items()}
        attributes = {"card": card, "scores": rows, "lost": lost}
        self._replace_group(f"eval/{protocol}", attributes, per_view, specs)

    def write_pictures(self, pictures: Mapping[str, bytes]) -> None:
        """Write pictures/: JPEG files by title, in order, so that a report needs no images."""
        arrays = {
            f"{i:04d}": np.frombuffer(data, np.uint8) for i, data in enumerate(pictures.values())
        }
        specs = {n: spec_whole("uint8", f"byte_{n}", *a.shape) for n, a in arrays.items()}
        attributes = {"titles": list(pictures), "meaning": "the bytes of JPEG files"}
        self._replace_group("pictures", attributes, arrays, specs)

    def write_seconds(self, seconds: Mapping[str, float]) -> None:
        """Record how long each stage took, in their order, which JSON objects here do not keep."""
        files.write_group(self._folder / "lineage" / STAGES, {"seconds": list(seconds.items())})

    def seal(self) -> None:
        """Gather the frames' small values, list every file's digest, flush all to the disk.

        Raises StoreError where frames are missing or the reconstruction is half-written.
        """
        entries = [units.read_unit(self._folder, f) for f in range(len(self._header.time_us))]
        missing = [frame for frame, entry in enumerate(entries) if entry is None]
        if missing:
            raise StoreError(
                f"log {self._header.log_id}: {len(missing)} of {len(entries)} frames are not "
                f"written or are damaged (first: {missing[:5]}); write them, then seal"
            )
        if (self._folder / "static").is_dir() != (self._folder / "dynamic").is_dir():
            raise StoreError(f"log {self._header.log_id}: write_reconstruction did not finish")
        self._gather([entry["record"] for entry in entries if entry is not None])
        files.sync_tree(self._folder)
        write_manifest(self._folder)

    def _start_afresh(self) -> None:
        folder = self._folder
        if folder.exists() and any(folder.iterdir()) and files.read_state(folder) is None:
            raise StoreError(
                f"{folder} exists and is no staging folder of {SCHEMA}: it is left as it is; "
                "move it away or name another folder"
            )
        files.discard(folder)
        room = folder.with_name(f".{folder.name}{files.PARTIAL}")
        files.discard(room)
        files.write_group(room, describe_root(self._header, "incomplete"))
        for name in ("frames", "poses", "views", "eval", "lineage"):
            files.write_group(room / name, {})
        files.write_group(room / "rig", describe_rig(self._header))
        for name, spec in list_log_arrays(*size_of(self._header)).items():
            group, leaf = name.split("/")
            create_array(room, name, spec, VIEW_ATTRIBUTES[leaf] if group == "views" else None)
        cameras = self._header.rig.cameras
        write_array(room, "frames/time_us", self._header.time_us)
        write_array(room, "frames/is_keyframe", self._header.is_keyframe)
        write_array(room, "rig/K", np.stack([camera.K for camera in cameras]))
        full_K = np.stack([camera.K for camera in self._header.full_cameras])
        write_array(room, "rig/full_K", full_K)
        write_array(room, "rig/ego_T_cam", np.stack([camera.ego_T_cam for camera in cameras]))
        files.sync_tree(room)
        room.rename(folder)
        files.sync(folder.parent)

    def _gather(self, records: list[dict[str, Any]]) -> None:
        """Arrays that all frames share, written once and whole, so that no crash can mix them."""
        folder = self._folder
        status = [STATUSES.index(r["status"]) for r in records]
        write_array(folder, "frames/status", np.array(status, np.uint8))
        for name, key in (
            ("frames/world_T_ego", "world_T_ego"),
            ("poses/prev_T_curr", "prev_T_curr"),
        ):
            write_array(folder, name, units.from_lists([r[key] for r in records]))
        write_array(folder, "poses/time_cam_us", np.array([r["time_cam_us"] for r in records]))
        world_T_ego_cam = np.stack([units.from_lists(r["world_T_ego_cam"]) for r in records])
        write_array(folder, "poses/world_T_ego", world_T_ego_cam)
        attributes = files.read_attributes(folder / "frames") or {}
        attributes |= {
            "status_codes": list(STATUSES),
            "status_counts": Counter(r["status"] for r in records),
            "reasons": [r["reasons"] for r in records],
            "image_paths": [r["image_paths"] for r in records],
            "extrapolated": [r["extrapolated"] for r in records],
        }
        files.write_group(folder / "frames", attributes)

    def _replace_group(
        self, name: str, attributes: dict[str, Any], source: Any, specs: dict[str, ArraySpec]
    ) -> None:
        """Build a group apart, then let it take its name at once."""
        room, target = self._folder / _ROOM, self._folder / name
        files.discard(room)
        files.write_group(room, attributes)
        for leaf, spec in specs.items():
            values = source[leaf] if isinstance(source, dict) else getattr(source, leaf)
            create_array(room, leaf, spec)
            write_array(room, leaf, _fit(values, spec, f"{name}/{leaf}"))
        files.sync_tree(room)
        files.discard(target)
        room.rename(target)
        files.sync(target.parent)


def sort_static(static: StaticMap) -> StaticMap:
    """The map in the store's order; StoreError where two rows are of one voxel."""
    order = morton_order(static.index, static.voxel_m)
    names = list_static_arrays(0)
    lengths = {name: len(getattr(static, name)) for name in names}
    if set(lengths.values()) != {len(order)}:
        raise StoreError(f"static map: one row per voxel is needed, got {lengths}")
    rows = {name: getattr(static, name)[order] for name in names}
    if (np.diff(rows["index"], axis=0) == 0).all(axis=1).any():
        raise StoreError("static map: a voxel index occurs twice; add its sums into one row")
    return dataclasses.replace(static, **rows)


def _check_moving(moving: MovingObjects) -> dict[str, ArraySpec]:
    """The arrays' layout; StoreError where they do not fit together."""
    m, k, p = len(moving.track_id), len(moving.size_m), len(moving.points_track)
    specs = list_moving_arrays(m, k, p)
    shapes = {name: getattr(moving, name).shape for name in specs}
    if shapes != {name: spec.shape for name, spec in specs.items()}:
        raise StoreError(
            f"moving objects: {m} states, {k} tracks and {p} points do not fit {shapes}"
        )
    for name in ("track_id", "points_track"):
        rows = getattr(moving, name)
        if ((rows < 0) | (rows >= k)).any():
            raise StoreError(f"moving objects: {name} must be a row of the {k} tracks")
    if not is_rigid(moving.world_T_object).all():
        raise StoreError("moving objects: world_T_object must be rigid transforms")
    return specs


def _fit(values: np.ndarray, spec: ArraySpec, name: str) -> np.ndarray:
    """The values in the stored type; StoreError where integers would wrap around."""
    fitted = values.astype(spec.dtype)
    if fitted.dtype.kind in "iu" and not np.array_equal(fitted, values):
        raise StoreError(f"{name}: values up to {np.abs(values).max()} do not fit {spec.dtype}")
    return fitted
