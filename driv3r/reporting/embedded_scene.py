"""A log's reconstruction as a small text that a page can hold: quantised, deflated, base64.

Layout before deflating: a uint32 with the header's length, the header as JSON, planes of bytes.
Voxels come first: low and high bytes of the differences of one 16-bit coordinate to that of the
voxel before, an axis after another; red, green, blue, and 16 log2(weight). Then the points of the
objects: int16 x, y, z in `OBJECT_STEP_M` and 8-bit colours. `scene_view.js` reads it.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from scipy.spatial import KDTree

from driv3r.store.reader import LogStore
from driv3r.types import MovingObjects, StaticMap

MOST_BYTES = 1_500_000  # of the text
MOST_VOXELS, MOST_OBJECT_POINTS = 160_000, 20_000
MIN_HITS = 3
OBJECT_STEP_M = 0.01
CEILING_M, BESIDE_M = 4.0, 3.0  # over the road and beside the path: what is there, covers the car
COVERED = 40  # voxels
STEPS = 65535  # of a voxel coordinate over the longest side


def encode_scene(store: LogStore) -> str:
    """The text of a fused log, at most MOST_BYTES long; empty for a log that shows nothing.

    Where it would be longer, evenly chosen voxels are left out. StoreError for a damaged log.
    """
    fused = store.reconstruction()
    world_T_ego = store.world_T_ego()
    placed = np.isfinite(world_T_ego).all((1, 2))
    if fused is None or not placed.any():
        return ""
    origin_world = world_T_ego[placed][0, :3, 3]
    start_us = int(store.time_us[0])
    objects = _encode_objects(fused.moving, origin_world, start_us)
    header = {
        "seconds": (int(store.time_us[-1]) - start_us) * 1e-6,
        "frames": [round(s, 3) for s in ((store.time_us - start_us) * 1e-6).tolist()],
        "path": _trace(store.time_us[placed] - start_us, world_T_ego[placed], origin_world),
        "origin": np.round(origin_world, 2).tolist(),
        "ceiling_m": CEILING_M,
        "covered": _is_covered(fused.static, world_T_ego[placed, :3, 3]),
        "tracks": objects["tracks"],
        "object_points": objects["count"],
        "object_step_m": OBJECT_STEP_M,
    }
    most = MOST_VOXELS
    while True:
        voxels = _choose_voxels(fused.static, most)
        text = _pack(header, voxels, origin_world, objects["bytes"])
        if len(text) <= MOST_BYTES or most < 1000:
            return text
        most = int(most * 0.9 * MOST_BYTES / len(text))


def _pack(
    header: dict[str, Any], voxels: StaticMap, origin_world: np.ndarray, objects: bytes
) -> str:
    points = voxels.points_world - origin_world
    low = points.min(axis=0) if len(points) else np.zeros(3)
    span_m = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    step_m = max(span_m, 1.0) / STEPS
    codes = np.rint((points - low) / step_m).astype(np.int64)
    deltas = np.diff(codes, axis=0, prepend=0).astype(np.uint16).T
    support = np.clip(16 * np.log2(np.maximum(voxels.weight, 1)), 0, 255).astype(np.uint8)
    planes = [deltas & 255, deltas >> 8, np.concatenate([voxels.rgb.T, support[None]])]
    written = header | {
        "voxels": len(codes),
        "low": low.tolist(),
        "step_m": step_m,
        "voxel_m": voxels.voxel_m,
    }
    head = json.dumps(written, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join(plane.astype(np.uint8).tobytes() for plane in planes)
    raw = len(head).to_bytes(4, "little") + head + body + objects
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def _is_covered(static: StaticMap, path_world: Float[np.ndarray, "t 3"]) -> bool:
    """Whether a roof or a bridge hides the car from above."""
    points_world = static.points_world[static.hits >= MIN_HITS]
    above = points_world[points_world[:, 2] > path_world[:, 2].min() + CEILING_M]
    near_m, nearest = KDTree(path_world[:, :2]).query(above[:, :2])
    over = above[:, 2] > path_world[nearest, 2] + CEILING_M
    return int(((near_m < BESIDE_M) & over).sum()) > COVERED


def _choose_voxels(static: StaticMap, most: int) -> StaticMap:
    """Voxels that were seen often enough, evenly thinned to `most`, still in their order."""
    rows = np.flatnonzero(static.hits >= MIN_HITS)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    return static.take(rows)


def _encode_objects(
    moving: MovingObjects, origin_world: np.ndarray, start_us: int
) -> dict[str, Any]:
    """Tracks with their states, and points in the order of tracks."""
    ids = np.unique(moving.track_id)
    share = min(1.0, MOST_OBJECT_POINTS / max(len(moving.points_track), 1))
    tracks, rows, total = [], [np.zeros(0, np.int64)], 0
    for track_id in ids:
        states = np.flatnonzero(moving.track_id == track_id)
        states = states[np.argsort(moving.time_us[states], kind="stable")]
        points = np.flatnonzero(moving.points_track == track_id)
        count = int(np.ceil(share * len(points)))
        points = points[np.linspace(0, len(points) - 1, count, dtype=int)]
        poses = moving.world_T_object[states]
        tracks.append(
            {
                "id": int(track_id),
                "size": np.round(moving.size_m[track_id], 2).tolist(),
                "states": _trace(moving.time_us[states] - start_us, poses, origin_world),
                "speed": np.round(
                    np.linalg.norm(moving.velocity_world_mps[states], axis=-1), 1
                ).tolist(),
                "points": [total, total + len(points)],
            }
        )
        rows.append(points)
        total += len(points)
    chosen = np.concatenate(rows)
    codes = np.clip(np.rint(moving.points_object[chosen] / OBJECT_STEP_M), -32767, 32767)
    colours: UInt8[np.ndarray, "p 3"] = moving.points_rgb[chosen]
    body = codes.astype("<i2").tobytes() + colours.tobytes()
    return {"tracks": tracks, "count": len(chosen), "bytes": body}


def _trace(
    time_us: Int64[np.ndarray, "m"], world_T_body: Float[np.ndarray, "m 4 4"], origin: np.ndarray
) -> list[list[float]]:
    """Rows of seconds, x, y, z from the origin (m), and yaw (rad)."""
    places = world_T_body[:, :3, 3] - origin
    yaw = np.arctan2(world_T_body[:, 1, 0], world_T_body[:, 0, 0])
    return np.round(np.column_stack([time_us * 1e-6, places, yaw]), 3).tolist()
