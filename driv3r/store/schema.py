"""What a store holds: header, frame records, arrays with types and chunks, and their meaning."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int64

from driv3r.errors import StoreError
from driv3r.geometry.cameras import is_pinhole
from driv3r.settings import PLAIN_NAME, Provenance, fingerprint
from driv3r.store import codec
from driv3r.types import Camera, EgoPoses, Prediction, Rig, RollingShutter, Scale, Transform

SCHEMA = "driv3r/5"
Status = Literal["ok", "repaired", "partial", "quarantined"]
STATUSES: tuple[Status, ...] = get_args(Status)
ABSENT_US = -1
STAGES = "stages"  # the group of lineage/ that has the seconds of a log's stages
MEMORY_FILE = "memory.safetensors"  # the network's temporal memory; only ever in a staging folder
CHUNK_ROWS = 65536
VIEW_DIMS = ("frame", "camera", "y", "x")
PLAIN = (  # fields of the header that are attributes of the root as they are
    "log_id",
    "dataset",
    "model",
    "input_hash",
    "scale",
    "scale_source",
    "ego_poses",
    "origin_world",
    "generated",
)
CONVENTIONS = {
    "units": {"length": "m", "time": "us", "velocity": "m/s"},
    "transforms": "dst_T_src maps homogeneous points of src to dst",
    "frames": "ego: x forward, y left, z up; cam: x right, y down, z forward (OpenCV)",
}
UNITS_UP_TO_SCALE = {
    "length": "up to scale: m as far as scale_source is true",
    "time": "us",
    "velocity": "length/s",
}
PIXEL_ORIGIN = "corner of first pixel; centre (0.5,0.5)"
VIEW_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "depth": {
        "meaning": "z in the camera, m",
        "decode": "low_m * exp(step * (code - 1)); 0 is none, see valid_reason",
        "low_m": codec.DEPTH.low,
        "step": codec.DEPTH.step,
    },
    "sigma": {
        "meaning": "scale (Laplace b) of the natural logarithm of depth",
        "decode": "low * exp(step * (code - 1)); 0 is none; clamped to both ends",
        "low": codec.SIGMA.low,
        "step": codec.SIGMA.step,
    },
    "dynamic_prob": {
        "meaning": "probability that the pixel's surface moves in the world",
        "decode": "code / 254; 255 is none",
    },
    "valid_reason": {"codes": ["ok", "no input", "non-finite", "out of range", "unscaled"]},
}


@dataclass(frozen=True, eq=False)
class LogHeader:
    """What is known of a log before its first frame; its hash says whether work can be continued.

    `rig` holds the cameras at the working size, one for all: crops (y0, x0, h, w) of the recorded
    images, whose cameras are `full_cameras`, resized. `origin_world` (x, y, z) plus a point of the
    store is the point in the dataset's own world. `generated` data are no recording.
    """

    log_id: str
    dataset: str
    model: str
    rig: Rig
    full_cameras: tuple[Camera, ...]
    crops: tuple[tuple[int, int, int, int], ...]
    time_us: Int64[np.ndarray, "t"]
    is_keyframe: Bool[np.ndarray, "t"]
    input_hash: str
    provenance: Provenance
    scale: Scale
    scale_source: str
    ego_poses: EgoPoses
    origin_world: tuple[float, float, float] = (0.0, 0.0, 0.0)
    generated: bool = False


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One surround frame's result. Where a camera gave nothing, its time is -1 and its pose NaN.

    `world_T_ego` is the car at the frame's time, `world_T_ego_cam` at each camera's own time (not
    the camera's pose). Only a quarantined frame may lack poses (NaN). An `extrapolated` one has its
    pose from the speed before it. `image_paths` are relative to the dataset's root. `shutters` tell
    how each camera moved on the log's own path while its lines were read, empty where none did.
    """

    prediction: Prediction
    status: Status
    reasons: tuple[str, ...]
    time_cam_us: Int64[np.ndarray, "v"]
    world_T_ego: Transform
    world_T_ego_cam: Float[np.ndarray, "v 4 4"]
    image_paths: tuple[str | None, ...]
    seconds: float
    input_hash: str
    extrapolated: bool = False
    attempts: int = 1
    shutters: tuple[RollingShutter | None, ...] = ()


@dataclass(frozen=True)
class ArraySpec:
    """Type and layout of one array; `shards` None is one file per chunk. `dims` names its axes."""

    dtype: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    fill: int | float = field(default=0, compare=False)  # NaN equals nothing, itself included


def spec_whole(dtype: str, dims: str, *shape: int, fill: int | float = 0) -> ArraySpec:
    """An array in a single chunk; `dims` are its axes' names, one word each."""
    return ArraySpec(dtype, shape, tuple(dims.split()), tuple(max(1, n) for n in shape), fill=fill)


def spec_rows(dtype: str, dims: str, *shape: int) -> ArraySpec:
    """An array in chunks of 65,536 rows, whatever its length."""
    return ArraySpec(dtype, shape, tuple(dims.split()), (CHUNK_ROWS, *shape[1:]))


def list_log_arrays(t: int, v: int, h: int, w: int) -> dict[str, ArraySpec]:
    """The arrays every log has. In views/, a shard is a surround frame: the unit of work."""
    views = {
        f"views/{name}": ArraySpec(dtype, (t, v, h, w), VIEW_DIMS, (1, 1, h, w), (1, v, h, w), fill)
        for name, dtype, fill in (
            ("depth", "uint16", 0),
            ("sigma", "uint8", 0),
            ("dynamic_prob", "uint8", codec.NO_MOTION),
            ("valid_reason", "uint8", codec.NO_INPUT),
        )
    }
    return {
        "frames/time_us": spec_whole("int64", "frame", t),
        "frames/status": spec_whole("uint8", "frame", t, fill=255),
        "frames/is_keyframe": spec_whole("bool", "frame", t),
        "frames/world_T_ego": spec_whole("float64", "frame row column", t, 4, 4, fill=np.nan),
        "rig/K": spec_whole("float64", "camera K_row K_column", v, 3, 3),
        "rig/full_K": spec_whole("float64", "camera K_row K_column", v, 3, 3),
        "rig/ego_T_cam": spec_whole("float64", "camera row column", v, 4, 4),
        "poses/time_cam_us": spec_whole("int64", "frame camera", t, v, fill=ABSENT_US),
        "poses/world_T_ego": spec_whole(
            "float64", "frame camera row column", t, v, 4, 4, fill=np.nan
        ),
        "poses/prev_T_curr": spec_whole("float64", "frame row column", t, 4, 4, fill=np.nan),
        **views,
    }


def list_static_arrays(n: int) -> dict[str, ArraySpec]:
    """The arrays of n static voxels, named as the fields of StaticMap."""
    return {
        "index": spec_rows("int32", "voxel axis", n, 3),
        "offset": spec_rows("uint8", "voxel axis", n, 3),
        "hits": spec_rows("int64", "voxel", n),
        "misses": spec_rows("int32", "voxel", n),
        "weight": spec_rows("int64", "voxel", n),
        "rgb": spec_rows("uint8", "voxel channel", n, 3),
        "normal": spec_rows("int8", "voxel axis", n, 3),
        "first_frame": spec_rows("int32", "voxel", n),
        "last_frame": spec_rows("int32", "voxel", n),
    }


def list_moving_arrays(m: int, k: int, p: int) -> dict[str, ArraySpec]:
    """The arrays of m states of k tracks and p points, named as the fields of MovingObjects."""
    return {
        "track_id": spec_rows("int64", "state", m),
        "frame": spec_rows("int32", "state", m),
        "time_us": spec_rows("int64", "state", m),
        "world_T_object": spec_rows("float64", "state row column", m, 4, 4),
        "velocity_world_mps": spec_rows("float64", "state axis", m, 3),
        "velocity_sigma_mps": spec_rows("float64", "state", m),
        "observed": spec_rows("bool", "state", m),
        "size_m": spec_rows("float64", "track axis", k, 3),
        "quality": spec_rows("float64", "track", k),
        "points_object": spec_rows("float32", "point axis", p, 3),
        "points_rgb": spec_rows("uint8", "point channel", p, 3),
        "points_track": spec_rows("int32", "point", p),
    }


def size_of(header: LogHeader) -> tuple[int, int, int, int]:
    """Frames, views, height and width (t, v, h, w) of a log."""
    return (
        len(header.time_us),
        len(header.rig.cameras),
        *header.rig.cameras[0].size_hw,
    )


def describe_rig(header: LogHeader) -> dict[str, Any]:
    """The rig but for its arrays, as attributes of rig/; `full_*` are of the recorded images."""
    rig, lidar = header.rig, header.rig.ego_T_lidar
    return {
        "names": [camera.name for camera in rig.cameras],
        "sizes_hw": [list(camera.size_hw) for camera in rig.cameras],
        "full_sizes_hw": [list(camera.size_hw) for camera in header.full_cameras],
        "full_lenses": [
            {
                "distortion": [float(k) for k in camera.distortion],
                "lens": camera.lens,
                "pinhole_fov_deg": camera.pinhole_fov_deg,
            }
            for camera in header.full_cameras
        ],
        "crops_y0_x0_h_w": [list(crop) for crop in header.crops],
        "ego_T_lidar": None if lidar is None else lidar.astype(np.float64).tolist(),
        "ground_z_m": float(rig.ground_z_m),
        "pixel_origin": PIXEL_ORIGIN,
    }


def describe_root(header: LogHeader, state: str) -> dict[str, Any]:
    """The root group's attributes; a log is readable only in state "complete"."""
    return {
        "schema": SCHEMA,
        "state": state,
        "header_hash": header_hash(header),
        **{name: getattr(header, name) for name in PLAIN},
        "provenance": dataclasses.asdict(header.provenance),
        **(CONVENTIONS if header.scale == "metric" else CONVENTIONS | {"units": UNITS_UP_TO_SCALE}),
    }


def header_hash(header: LogHeader) -> str:
    """Fingerprint of everything that counts in the header, and of the schema's name."""
    document = {name: getattr(header, name) for name in PLAIN}
    document |= {"schema": SCHEMA, "provenance": header.provenance, "rig": describe_rig(header)}
    document |= {"time_us": header.time_us, "is_keyframe": header.is_keyframe}
    for name, cameras in (("cameras", header.rig.cameras), ("full", header.full_cameras)):
        document[name] = [
            [camera.K.astype(np.float64), camera.ego_T_cam.astype(np.float64)] for camera in cameras
        ]
    return fingerprint(document)


def is_rigid(dst_T_src: Float[np.ndarray, "*b 4 4"]) -> Bool[np.ndarray, "*b"]:
    """Whether each is finite, its rotation orthonormal within 1e-4 and its last row 0 0 0 1."""
    finite = np.isfinite(dst_T_src).all((-2, -1))
    sound = np.where(finite[..., None, None], dst_T_src, 0.0)
    rotation = sound[..., :3, :3]
    gram = np.swapaxes(rotation, -1, -2) @ rotation
    return np.asarray(
        (np.abs(gram - np.eye(3)).max((-2, -1)) < 1e-4)
        & (np.linalg.det(rotation) > 0)
        & (np.abs(sound[..., 3, :] - [0, 0, 0, 1]).max(-1) < 1e-9)
    )


def check_name(name: str, what: str) -> None:
    """StoreError unless the name is safe as a folder's."""
    if not PLAIN_NAME.fullmatch(name):
        raise StoreError(
            f"{what} {name!r} is not a safe file name: use letters, digits, '_', '-' and '.', "
            "not '.' or '-' first, at most 200 characters"
        )


def check_header(header: LogHeader) -> None:
    """StoreError with the reason where a header can not be stored."""
    check_name(header.log_id, "log_id")
    for expected, holds in {
        "at least one frame and one camera": len(header.time_us) and header.rig.cameras,
        "int64 times that strictly increase": header.time_us.dtype == np.int64
        and (np.diff(header.time_us) > 0).all(),
        "is_keyframe as bool, one per time": header.is_keyframe.dtype == np.bool_
        and header.is_keyframe.shape == header.time_us.shape,
        "cameras of distinct names": len({c.name for c in header.rig.cameras})
        == len(header.rig.cameras),
        "cameras of one working size (crop_resize them)": len(
            {c.size_hw for c in header.rig.cameras}
        )
        <= 1,
        "finite K [3 3]": all(
            c.K.shape == (3, 3) and np.isfinite(c.K).all() for c in header.rig.cameras
        ),
        "working cameras that are pinholes": all(is_pinhole(c) for c in header.rig.cameras),
        "rigid ego_T_cam [4 4]": all(
            c.ego_T_cam.shape == (4, 4) and is_rigid(c.ego_T_cam) for c in header.rig.cameras
        ),
        "a full camera and a crop for each camera": len(header.rig.cameras)
        == len(header.full_cameras)
        == len(header.crops),
        "an input_hash": bool(header.input_hash),
        f"scale of {get_args(Scale)}": header.scale in get_args(Scale),
        f"ego_poses of {get_args(EgoPoses)}": header.ego_poses in get_args(EgoPoses),
    }.items():
        if not holds:
            raise StoreError(f"log {header.log_id}: the header needs {expected}")


def check_record(header: LogHeader, index: int, record: FrameRecord) -> None:
    """StoreError with the reason where a frame's record does not fit its log."""
    t, v, h, w = size_of(header)
    prediction, prev_T_curr = record.prediction, record.prediction.prev_T_curr
    given = (prediction.depth_m, prediction.sigma, prediction.motion)
    shapes = [a.shape for a in (*given, record.time_cam_us, record.world_T_ego_cam)]
    fitting = shapes == [(v, h, w)] * 3 + [(v,), (v, 4, 4)] and len(record.image_paths) == v
    if not fitting or record.world_T_ego.shape != (4, 4):
        raise StoreError(
            f"log {header.log_id} frame {index}: depth_m, sigma, motion, time_cam_us and "
            f"world_T_ego_cam have shapes {shapes}; this log has {v} views of {(h, w)}"
        )
    present = record.time_cam_us != ABSENT_US
    quarantined = record.status == "quarantined"
    for expected, holds in {
        f"an index in 0..{t - 1}": 0 <= index < t,
        f"a status of {STATUSES}": record.status in STATUSES,
        f"the header's scale {header.scale!r}": prediction.scale == header.scale,
        "a rigid world_T_ego": quarantined or is_rigid(record.world_T_ego),
        "a rigid world_T_ego_cam wherever time_cam_us is not -1": quarantined
        or is_rigid(record.world_T_ego_cam[present]).all(),
        "a rigid prev_T_curr or None": prev_T_curr is None or is_rigid(prev_T_curr),
        "the log's own cameras": all(
            own.size_hw == camera.size_hw and np.array_equal(own.K, camera.K)
            for own, camera in zip(header.rig.cameras, prediction.cameras, strict=False)
        )
        and len(prediction.cameras) == v,
        "NaN depth, sigma and motion in views without input": not any(
            np.isfinite(a[~present]).any() for a in given
        ),
    }.items():
        if not holds:
            raise StoreError(f"log {header.log_id} frame {index}: the record needs {expected}")
