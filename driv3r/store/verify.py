"""Checks a log on the disk, whatever its state, and tells every problem in a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driv3r.store.arrays import open_array
from driv3r.store.codec import NON_FINITE, OK, OUT_OF_RANGE, UNSCALED
from driv3r.store.files import read_attributes
from driv3r.store.manifest import compare_files
from driv3r.store.morton import morton_order
from driv3r.store.reader import LogStore
from driv3r.store.schema import (
    ABSENT_US,
    SCHEMA,
    ArraySpec,
    is_rigid,
    list_log_arrays,
    list_moving_arrays,
    list_static_arrays,
    size_of,
)


@dataclass(frozen=True)
class VerifyReport:
    """Problems of one log, empty where it is sound."""

    path: Path
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: Path) -> VerifyReport:
    """Check files against the manifest, arrays against the schema, and values for sense.

    Never raises on a damaged log: what it meets becomes a problem of the report.
    """
    path = Path(path)
    attributes = read_attributes(path)
    if attributes is None:
        return VerifyReport(path, ("zarr.json: the root metadata is missing or unreadable",))
    store = LogStore(path, attributes)
    problems: list[str] = []
    checks = (_check_root, _check_files, _check_arrays, _check_poses, _check_views, _check_groups)
    for check in checks:
        try:
            problems.extend(check(store))
        except Exception as error:  # damage may surface as any error; it is reported, not raised
            problems.append(f"{check.__name__[7:]}: {error or type(error).__name__}")
    return VerifyReport(path, tuple(dict.fromkeys(problems)))


def _check_root(store: LogStore) -> Iterator[str]:
    attributes = read_attributes(store.path) or {}
    for name, expected in (("schema", SCHEMA), ("state", "complete")):
        if attributes.get(name) != expected:
            yield f"zarr.json: {name} is {attributes.get(name)!r}, expected {expected!r}"


def _check_files(store: LogStore) -> list[str]:
    return compare_files(store.path, (store.path / "zarr.json").read_bytes())


def _check_arrays(store: LogStore) -> Iterator[str]:
    specs = list_log_arrays(*size_of(store.header))
    if (store.path / "static").is_dir():
        n = open_array(store.path, "static/index").shape[0]
        specs |= {f"static/{name}": spec for name, spec in list_static_arrays(n).items()}
    if (store.path / "dynamic").is_dir():
        counted = ("frame", "size_m", "points_track")
        counts = (open_array(store.path, f"dynamic/{name}").shape[0] for name in counted)
        specs |= {f"dynamic/{name}": spec for name, spec in list_moving_arrays(*counts).items()}
    for name, spec in specs.items():
        array = open_array(store.path, name)
        named = getattr(array.metadata, "dimension_names", None)
        dims = tuple(str(name) for name in named or ())
        found = ArraySpec(
            str(array.dtype), array.shape, dims, array.chunks, array.shards, spec.fill
        )
        if found != spec:
            yield f"{name}: is {found}, expected {spec}"
        if array.nchunks_initialized != array.nchunks:
            yield f"{name}: {array.nchunks_initialized} of {array.nchunks} chunks are there"


def _check_poses(store: LogStore) -> Iterator[str]:
    if (np.diff(store.time_us) <= 0).any():
        yield "frames/time_us: times do not increase"
    needed = np.array([status != "quarantined" for status in store.status])
    for frame in np.flatnonzero(needed & ~is_rigid(store.world_T_ego())):
        yield f"frames/world_T_ego: frame {frame} is not a rigid transform"
    present = (store.time_cam_us != ABSENT_US) & needed[:, None]
    for frame, view in np.argwhere(present & ~is_rigid(store.world_T_ego_cam())):
        yield f"poses/world_T_ego: frame {frame} view {view} is not a rigid transform"
    for camera in store.rig.cameras:
        if not is_rigid(camera.ego_T_cam):
            yield f"rig/ego_T_cam: camera {camera.name} is not a rigid transform"


def _check_views(store: LogStore) -> Iterator[str]:
    for frame in range(len(store.time_us)):
        prediction = store.prediction(frame)
        if prediction.prev_T_curr is not None and not is_rigid(prediction.prev_T_curr):
            yield f"poses/prev_T_curr: frame {frame} is not a rigid transform"
        if store.lineage(frame).get("frame") != frame:
            yield f"lineage/{frame:06d}: belongs to another frame"
        for view in range(len(store.rig.cameras)):
            reason = store.valid_reason(frame, view)
            if ((reason == OK) != np.isfinite(prediction.depth_m[view])).any():
                yield f"views/valid_reason: frame {frame} view {view} disagrees with depth"
            absent = store.time_cam_us[frame, view] == ABSENT_US
            if absent and np.isin(reason, (OK, NON_FINITE, OUT_OF_RANGE, UNSCALED)).any():
                yield f"views/valid_reason: frame {frame} view {view} has depth without input"


def _check_groups(store: LogStore) -> Iterator[str]:
    if len(store.reasons) != len(store.time_us):
        yield f"frames/zarr.json: {len(store.reasons)} reasons for {len(store.time_us)} frames"
    store.scores()
    if (store.path / "static").is_dir() != (store.path / "dynamic").is_dir():
        yield "static/ and dynamic/: one is there without the other"
    if (store.path / "static").is_dir():
        static = store.static()
        if not np.array_equal(
            morton_order(static.index, static.voxel_m), np.arange(len(static.hits))
        ):
            yield "static/index: voxels are not in Morton order"
    if (store.path / "dynamic").is_dir():
        moving = store.moving()
        for name in ("track_id", "points_track"):
            rows = getattr(moving, name)
            if ((rows < 0) | (rows >= len(moving.size_m))).any():
                yield f"dynamic/{name}: points to tracks that are not there"
