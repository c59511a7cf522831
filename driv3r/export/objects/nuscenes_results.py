"""nuScenes result files of detection and tracking (nuscenes-devkit, eval/*/README.md)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.datasets.nuscenes.tables import Tables, find_versions
from driv3r.errors import DatasetError
from driv3r.export.objects.kinds import RULE, guess_kind
from driv3r.export.selection import SelectedLog
from driv3r.geometry.transforms import to_quaternion

META = {
    "use_camera": True,
    "use_lidar": False,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}
MOST_BOXES = 500  # of a sample, which the devkit allows
SAME_US = 100_000  # a frame and its sample are no further apart


def write_detection(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """detection.json: boxes of every keyframe. See `_write_results`."""
    return _write_results(selected, folder / "detection.json", _describe_detection)


def write_tracking(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """tracking.json: the same with tracking_id. See `_write_results`."""
    return _write_results(selected, folder / "tracking.json", _describe_tracking)


def _write_results(selected: SelectedLog, path: Path, name_fields: Any) -> dict[str, Any]:
    """Boxes in the dataset's global frame (metres), size as width, length, height, quaternions
    w x y z, velocity in the ground plane. The score is the track's quality; `meta` says how classes
    are guessed.

    Samples are named by --root's tables (of nuScenes), else "<log>/<frame>". Raises DatasetError
    where the tables do not hold the log.
    """
    tokens = name_samples(selected)
    results: dict[str, list[dict[str, Any]]] = {token: [] for token in tokens.values()}
    moving = selected.moving
    origin = np.array(selected.store.header.origin_world)
    quaternion = to_quaternion(moving.world_T_object)
    for state in np.argsort(-moving.quality[moving.track_id], kind="stable").tolist():
        token = tokens.get(int(moving.frame[state]))
        if token is None or len(results[token]) >= MOST_BOXES:
            continue
        track = int(moving.track_id[state])
        length, width, height = moving.size_m[track].tolist()
        box = {
            "sample_token": token,
            "translation": (moving.world_T_object[state, :3, 3] + origin).tolist(),
            "size": [width, length, height],
            "rotation": quaternion[state].tolist(),
            "velocity": moving.velocity_world_mps[state, :2].tolist(),
        }
        kind = guess_kind(moving.size_m[track])
        results[token].append(box | name_fields(kind, float(moving.quality[track]), track))
    meta = META | {"classes": RULE, "score": "share of the track's frames in which it was observed"}
    path.write_text(json.dumps({"meta": meta, "results": results}) + "\n")
    known = is_named_by_tables(selected)
    named = "by the dataset's tables" if known else "log/frame: --root of a nuScenes folder tells"
    return {"samples": len(results), "sample_tokens": named, "classes": RULE}


def _describe_detection(kind: str, score: float, track: int) -> dict[str, Any]:
    return {"detection_name": kind, "detection_score": score, "attribute_name": ""}


def _describe_tracking(kind: str, score: float, track: int) -> dict[str, Any]:
    return {"tracking_id": str(track), "tracking_name": kind, "tracking_score": score}


def is_named_by_tables(selected: SelectedLog) -> bool:
    """Whether samples have the tokens of a nuScenes folder."""
    return selected.selection.root is not None and selected.store.header.dataset == "nuscenes"


def name_samples(selected: SelectedLog) -> dict[int, str]:
    """The sample's token of every chosen keyframe."""
    header, root = selected.store.header, selected.selection.root
    frames = [frame for frame in selected.frames if header.is_keyframe[frame]]
    if root is None or not is_named_by_tables(selected):
        return {frame: f"{header.log_id}/{frame:06d}" for frame in frames}
    rows = _find_samples(root, header.log_id)
    times_us = np.array([row["timestamp"] for row in rows], np.int64)
    tokens = {}
    for frame in frames:
        offset_us = np.abs(times_us - header.time_us[frame])
        nearest = int(offset_us.argmin())
        if offset_us[nearest] > SAME_US:
            raise DatasetError(
                f"{root}: no sample of {header.log_id} is within {SAME_US / 1e6:g} s of frame "
                f"{frame}; give the root that the log was made of"
            )
        tokens[frame] = str(rows[nearest]["token"])
    return tokens


def _find_samples(root: Path, log_id: str) -> list[dict[str, Any]]:
    for version in find_versions(root):
        tables = Tables(root, version)
        if log_id in tables.scene_named:
            return tables.samples_of(tables.scene_named[log_id])
    raise DatasetError(
        f"{root} holds no nuScenes tables with scene {log_id}; give the root that the log was made "
        "of, or leave --root out: samples are then named by log and frame"
    )
