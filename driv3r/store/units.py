"""One surround frame as a work unit: its shards, and its lineage entry that makes them count.

The entry (the attributes of group lineage/<frame>) is written after the shards and holds their
digests, the small values of the frame, and all that differs between runs (seconds, attempts).
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.errors import StoreError
from driv3r.store.arrays import read_view, shard_path, write_array
from driv3r.store.codec import (
    DEPTH,
    SIGMA,
    UNSCALED,
    decode_motion,
    encode_depth,
    encode_motion,
    encode_sigma,
    explain_depth,
)
from driv3r.store.files import digest_file, read_attributes, sync, write_group
from driv3r.store.schema import ABSENT_US, VIEW_ATTRIBUTES, FrameRecord
from driv3r.types import Camera, Prediction, RollingShutter, Scale, Transform


def unit_path(folder: Path, frame: int) -> Path:
    """The group of a frame's lineage entry."""
    return folder / "lineage" / f"{frame:06d}"


def write_unit(folder: Path, frame: int, record: FrameRecord) -> None:
    """Write the shards to the disk, then the entry.

    Folders are flushed when the log is sealed: a file name lost to a power cut before that fails
    the digest, and the frame is written again.
    """
    present = record.time_cam_us != ABSENT_US
    prediction = record.prediction
    scaled = ~np.isin(np.arange(len(present)), list(prediction.unscaled_views))
    codes = {
        "depth": encode_depth(prediction.depth_m),
        "sigma": encode_sigma(prediction.sigma),
        "dynamic_prob": encode_motion(prediction.motion),
        "valid_reason": explain_depth(prediction.depth_m, present, scaled),
    }
    for name, values in codes.items():
        write_array(folder, f"views/{name}", values, at=frame)
        sync(folder / shard_path(f"views/{name}", frame))
    entry = {
        "frame": frame,
        "input_hash": record.input_hash,
        "attempts": record.attempts,
        "seconds": record.seconds,
        "output": _digest_shards(folder, frame),
        "record": {
            "status": record.status,
            "reasons": list(record.reasons),
            "time_cam_us": record.time_cam_us,
            "image_paths": list(record.image_paths),
            "extrapolated": record.extrapolated,
            "world_T_ego": _to_list(record.world_T_ego),
            "world_T_ego_cam": [
                _to_list(m) if p else None
                for m, p in zip(record.world_T_ego_cam, present, strict=True)
            ],
            "prev_T_curr": None
            if prediction.prev_T_curr is None
            else _to_list(prediction.prev_T_curr),
        },
    }
    if record.shutters:
        entry["record"]["shutters"] = [s and _to_entry(s) for s in record.shutters]
    write_group(unit_path(folder, frame), entry)


def read_unit(folder: Path, frame: int) -> dict[str, Any] | None:
    """A frame's entry, None unless it is there and its digests agree with the shards."""
    entry = read_attributes(unit_path(folder, frame))
    if entry is None or entry.get("frame") != frame or "record" not in entry:
        return None
    try:
        return entry if entry.get("output") == _digest_shards(folder, frame) else None
    except OSError:
        return None


def read_record(folder: Path, frame: int, cameras: tuple[Camera, ...], scale: Scale) -> FrameRecord:
    """A written frame as a reader will find it; StoreError where it is not complete."""
    entry = read_unit(folder, frame)
    if entry is None:
        raise StoreError(f"{folder}: frame {frame} is not written or is damaged; write it again")
    record = entry["record"]
    prev_T_curr = None if record["prev_T_curr"] is None else np.array(record["prev_T_curr"])
    return FrameRecord(
        prediction=read_prediction(folder, frame, cameras, prev_T_curr, scale),
        status=record["status"],
        reasons=tuple(record["reasons"]),
        time_cam_us=np.array(record["time_cam_us"], np.int64),
        world_T_ego=from_lists([record["world_T_ego"]])[0],
        world_T_ego_cam=from_lists(record["world_T_ego_cam"]),
        image_paths=tuple(record["image_paths"]),
        seconds=entry["seconds"],
        input_hash=entry["input_hash"],
        extrapolated=record["extrapolated"],
        attempts=entry["attempts"],
        shutters=_list_shutters(record, f"{folder}: frame {frame}"),
    )


def read_shutters(folder: Path, frame: int, views: int) -> tuple[RollingShutter | None, ...]:
    """Those of a written frame, of every view; StoreError where its entry is missing or damaged."""
    entry = read_attributes(unit_path(folder, frame))
    if entry is None or "record" not in entry:
        raise StoreError(f"{folder}: frame {frame} has no entry in lineage; write it again")
    shutters = _list_shutters(entry["record"], f"{folder}: frame {frame}")
    if shutters and len(shutters) != views:
        raise StoreError(f"{folder}: frame {frame} has {len(shutters)} shutters, {views} views")
    return shutters or (None,) * views


def read_prediction(
    folder: Path,
    frame: int,
    cameras: tuple[Camera, ...],
    prev_T_curr: Transform | None,
    scale: Scale,
) -> Prediction:
    """Decode a frame's shards; StoreError where they are missing or damaged."""
    depth, sigma, motion, reason = (
        read_view(folder, f"views/{name}", frame, slice(None))
        for name in ("depth", "sigma", "dynamic_prob", "valid_reason")
    )
    return Prediction(
        cameras=cameras,
        depth_m=DEPTH.decode(depth),
        sigma=SIGMA.decode(sigma),
        motion=decode_motion(motion),
        prev_T_curr=prev_T_curr,
        scale=scale,
        unscaled_views=frozenset(np.flatnonzero((reason == UNSCALED).any((1, 2))).tolist()),
    )


def from_lists(matrices: list[list[list[float]] | None]) -> Float[np.ndarray, "k 4 4"]:
    """Transforms of entries, NaN where an entry has none."""
    return np.array([np.full((4, 4), np.nan) if m is None else m for m in matrices], np.float64)


def _to_entry(shutter: RollingShutter) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(shutter).items()}


def _list_shutters(record: dict[str, Any], where: str) -> tuple[RollingShutter | None, ...]:
    moved = ("velocity_cam_mps", "turn_cam_radps")
    try:
        return tuple(
            told and RollingShutter(**(told | {k: np.array(told[k], np.float64) for k in moved}))
            for told in record.get("shutters", ())
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where} has damaged shutters ({error}); write it again") from error


def _to_list(dst_T_src: Transform) -> list[list[float]] | None:
    """JSON keeps a float64 exactly, but has no NaN."""
    return dst_T_src.astype(np.float64).tolist() if np.isfinite(dst_T_src).all() else None


def _digest_shards(folder: Path, frame: int) -> dict[str, str]:
    paths = [shard_path(f"views/{name}", frame) for name in VIEW_ATTRIBUTES]
    return {path: digest_file(folder / path) for path in paths}
