"""Rerun recordings (rerun.io), read by `rerun log.rrd`."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from driv3r.datasets.images import read_file
from driv3r.datasets.reader import Root
from driv3r.export.cameras.depth import MM_PER_M, encode_mm
from driv3r.export.cameras.views import PosedView, list_views
from driv3r.export.packages import need
from driv3r.export.recordings.timeline import colour_track
from driv3r.export.selection import SelectedLog

TIMELINE = "time"


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """log.rrd: world/static, world/path, world/ego, world/objects, world/<camera> over "time".

    Metres of the log's world, z up. A camera is a pinhole (Rerun has no lens distortion) of the
    working size with its depth in millimetres (none from 65.535 m on); pixels count from the corner
    of the first, as Rerun does. Images, as recorded, lie at world/<camera>/recorded/image.
    ConfigError without rerun-sdk.
    """
    rr = need("rerun", "rerun")
    recording = rr.RecordingStream("driv3r", recording_id=selected.store.log_id)
    recording.save(folder / "log.rrd")
    recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    static = selected.static
    if "static" in selected.layers:
        points = rr.Points3D(static.points_world, colors=static.rgb, radii=static.voxel_m / 2)
        recording.log("world/static", points, static=True)
    path = [pose[:3, 3] for _, _, pose in selected.known_frames]
    if "path" in selected.layers and len(path) > 1:
        recording.log("world/path", rr.LineStrips3D([np.array(path)]), static=True)
    views: dict[int, list[PosedView]] = {}
    for view in list_views(selected) if "cameras" in selected.layers else ():
        views.setdefault(view.frame, []).append(view)
    poses = {frame: pose for frame, _, pose in selected.known_frames}
    for frame, time_us in zip(selected.frames, selected.time_us.tolist(), strict=True):
        _set_time(recording, time_us)
        if frame in poses:
            recording.log("world/ego", _place(rr, poses[frame]))
        if "moving" in selected.layers:
            recording.log("world/objects", _boxes(rr, selected, frame))
        for view in views.get(frame, ()):
            _set_time(recording, view.time_us)
            _log_view(rr, recording, selected, view)
    recording.flush(blocking=True)
    recording.disconnect()
    return {"lens": "pinhole: Rerun has no distortion", "timeline": TIMELINE}


def _set_time(recording: Any, time_us: int) -> None:
    recording.set_time(TIMELINE, timestamp=np.datetime64(time_us, "us"))


def _place(rr: Any, dst_T_src: np.ndarray) -> Any:
    return rr.Transform3D(translation=dst_T_src[:3, 3], mat3x3=dst_T_src[:3, :3])


def _boxes(rr: Any, selected: SelectedLog, frame: int) -> Any:
    moving = selected.moving
    states = np.flatnonzero(moving.frame == frame)
    tracks = moving.track_id[states]
    pose = moving.world_T_object[states]
    turn = Rotation.from_matrix(pose[:, :3, :3]).as_quat() if len(states) else np.zeros((0, 4))
    return rr.Boxes3D(
        centers=pose[:, :3, 3],
        half_sizes=moving.size_m[tracks] / 2,
        quaternions=turn,
        colors=(np.array([colour_track(t) for t in tracks.tolist()]).reshape(-1, 3) * 255).astype(
            np.uint8
        ),
        labels=[str(track) for track in tracks],
    )


def _log_view(rr: Any, recording: Any, selected: SelectedLog, view: PosedView) -> None:
    name = f"world/{view.working.name}"
    height, width = view.working.size_hw
    recording.log(name, _place(rr, view.world_T_cam))
    pinhole = rr.Pinhole(
        image_from_camera=view.working.K,
        resolution=[width, height],
        camera_xyz=rr.ViewCoordinates.RDF,
    )
    recording.log(f"{name}/maps", pinhole)
    codes, _ = encode_mm(selected.store.depth_m(view.frame, view.view))
    recording.log(f"{name}/maps/depth", rr.DepthImage(codes, meter=MM_PER_M))
    selection = selected.selection
    if selection.root is not None and selection.images != "none":
        data = read_file(Root(selection.root.resolve()).resolve_inside(view.path))
        kind = "image/png" if view.suffix == ".png" else "image/jpeg"
        full = view.full
        recorded = rr.Pinhole(
            image_from_camera=full.K,
            resolution=[full.size_hw[1], full.size_hw[0]],
            camera_xyz=rr.ViewCoordinates.RDF,
        )
        recording.log(f"{name}/recorded", recorded)
        image = rr.EncodedImage(contents=data, media_type=kind)
        recording.log(f"{name}/recorded/image", image)
