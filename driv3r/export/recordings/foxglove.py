"""MCAP files of Foxglove's message schemas (docs.foxglove.dev) in protobuf."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.images import read_file
from driv3r.datasets.reader import Root
from driv3r.errors import ConfigError
from driv3r.export.cameras.depth import encode_mm
from driv3r.export.cameras.views import PosedView, list_views
from driv3r.export.packages import need
from driv3r.export.pointclouds.clouds import static_cloud
from driv3r.export.pointclouds.ply import tabulate
from driv3r.export.recordings.timeline import centred_K, colour_track
from driv3r.export.selection import SelectedLog
from driv3r.geometry.transforms import to_quaternion
from driv3r.types import Camera

RATIONAL = 8  # coefficients
OPAQUE = 0.45
Row = dict[str, Any]


def write(selected: SelectedLog, folder: Path) -> Row:
    """log.mcap: /static, /path, /tf, /objects, /<camera>/depth and its camera_info; images where
    they are asked for, as they were recorded, with a camera_info of their own.

    Metres, quaternions x y z w, frames "world", "ego" and the cameras' names (OpenCV axes). Depth
    is 16UC1 in millimetres, 0 for none and from 65.535 m on. K counts from the
    centre of the first pixel, as ROS does. ConfigError without mcap-protobuf-support and
    foxglove-schemas-protobuf.
    """
    writer_of, messages = need("mcap_protobuf.writer"), Messages()
    counts: Row = {}
    with (folder / "log.mcap").open("wb") as file, writer_of.Writer(file) as writer:

        def send(topic: str, message: Any, time_us: int) -> None:
            writer.write_message(topic, message, time_us * 1000, time_us * 1000)
            counts[topic] = counts.get(topic, 0) + 1

        start_us = int(selected.time_us[0])
        if "static" in selected.layers:
            send("/static", messages.static(selected, start_us), start_us)
        if "path" in selected.layers:
            send("/path", messages.path(selected, start_us), start_us)
        views: dict[int, list[PosedView]] = {}
        for view in list_views(selected) if "cameras" in selected.layers else ():
            views.setdefault(view.frame, []).append(view)
        poses = {frame: pose for frame, _, pose in selected.known_frames}
        for frame, time_us in zip(selected.frames, selected.time_us.tolist(), strict=True):
            if frame in poses:
                send("/tf", messages.transforms(selected, poses[frame], time_us), time_us)
            if "moving" in selected.layers:
                send("/objects", messages.objects(selected, frame, time_us), time_us)
            for view in views.get(frame, ()):
                for topic, message in messages.camera(selected, view):
                    send(f"/{view.working.name}/{topic}", message, view.time_us)
    return {"messages": counts, "encoding": "protobuf"}


class Messages:
    """Builds messages of Foxglove's schemas."""

    def __init__(self) -> None:
        names = (
            *("PointCloud", "PosesInFrame", "FrameTransforms", "SceneUpdate", "RawImage"),
            *("CameraCalibration", "CompressedImage"),
        )
        modules = {name: need(f"foxglove_schemas_protobuf.{name}_pb2") for name in names}
        self._make = {name: getattr(module, name) for name, module in modules.items()}

    def static(self, selected: SelectedLog, time_us: int) -> Any:
        """The static map as a PointCloud of packed rows."""
        rows = tabulate(static_cloud(selected))
        kinds = {"f4": 7, "u1": 1, "i4": 6}  # PackedElementField.NumericType
        types = rows.dtype.fields or {}
        layout = [
            {"name": name, "offset": types[name][1], "type": kinds[types[name][0].str[1:]]}
            for name in rows.dtype.names or ()
        ]
        return self._make["PointCloud"](
            **_stamp(time_us, "world"),
            pose=_pose(np.eye(4)),
            point_stride=rows.dtype.itemsize,
            fields=layout,
            data=rows.tobytes(),
        )

    def path(self, selected: SelectedLog, time_us: int) -> Any:
        """The car's poses."""
        poses = [_pose(pose) for _, _, pose in selected.known_frames]
        return self._make["PosesInFrame"](**_stamp(time_us, "world"), poses=poses)

    def transforms(
        self, selected: SelectedLog, world_T_ego: Float[np.ndarray, "4 4"], time_us: int
    ) -> Any:
        """The car in the world, and the cameras on the car."""
        rows = [("world", "ego", world_T_ego)]
        rows += [("ego", camera.name, camera.ego_T_cam) for camera in selected.store.rig.cameras]
        transforms = []
        for parent, child, parent_T_child in rows:
            pose = _pose(parent_T_child)
            transforms.append(
                {
                    "timestamp": _time(time_us),
                    "parent_frame_id": parent,
                    "child_frame_id": child,
                    "translation": pose["position"],
                    "rotation": pose["orientation"],
                }
            )
        return self._make["FrameTransforms"](transforms=transforms)

    def objects(self, selected: SelectedLog, frame: int, time_us: int) -> Any:
        """A box an object of the frame; those of the frame before are deleted."""
        moving = selected.moving
        entities = []
        for state in np.flatnonzero(moving.frame == frame):
            track = int(moving.track_id[state])
            red, green, blue = colour_track(track)
            size = dict(zip("xyz", moving.size_m[track].tolist(), strict=True))
            box = {
                "pose": _pose(moving.world_T_object[state]),
                "size": size,
                "color": {"r": red, "g": green, "b": blue, "a": OPAQUE},
            }
            told = {
                "speed_mps": f"{np.linalg.norm(moving.velocity_world_mps[state]):.2f}",
                "observed": str(bool(moving.observed[state])).lower(),
            }
            metadata = [{"key": key, "value": value} for key, value in told.items()]
            entities.append(
                {"id": str(track), "cubes": [box], "metadata": metadata} | _stamp(time_us, "world")
            )
        deletions = [{"timestamp": _time(time_us), "type": 1}]  # SceneEntityDeletion.ALL
        return self._make["SceneUpdate"](deletions=deletions, entities=entities)

    def camera(self, selected: SelectedLog, view: PosedView) -> list[tuple[str, Any]]:
        """Topics and messages of one view."""
        depth_m = selected.store.depth_m(view.frame, view.view)
        codes, _ = encode_mm(depth_m)
        stamp = _stamp(view.time_us, view.working.name)
        height, width = view.working.size_hw
        image = self._make["RawImage"](
            **stamp, width=width, height=height, encoding="16UC1", step=2 * width,
            data=codes.astype("<u2").tobytes(),
        )  # fmt: skip
        messages = [
            ("depth/image", image),
            ("depth/camera_info", self._calibration(view.working, stamp)),
        ]
        selection = selected.selection
        if selection.root is not None and selection.images != "none":
            data = read_file(Root(selection.root.resolve()).resolve_inside(view.path))
            kind = "png" if view.suffix == ".png" else "jpeg"
            messages += [
                ("image", self._make["CompressedImage"](**stamp, data=data, format=kind)),
                ("camera_info", self._calibration(view.full, stamp)),
            ]
        return messages

    def _calibration(self, camera: Camera, stamp: Row) -> Any:
        K = centred_K(camera)
        lens = [*camera.distortion, *(0.0,) * (5 - len(camera.distortion))]
        names = {"kannala_brandt": "kannala_brandt", "brown_conrady": "plumb_bob"}
        if camera.lens not in names or len(lens) > RATIONAL:
            raise ConfigError(
                f"camera {camera.name} has {len(lens)} coefficients of the lens {camera.lens}, "
                "which Foxglove has no name for: take --images none"
            )
        return self._make["CameraCalibration"](
            **stamp,
            width=camera.size_hw[1],
            height=camera.size_hw[0],
            distortion_model=names[camera.lens] if len(lens) < RATIONAL else "rational_polynomial",
            D=lens if camera.lens == "brown_conrady" else list(camera.distortion),
            K=K.reshape(-1).tolist(),
            R=np.eye(3).reshape(-1).tolist(),
            P=np.concatenate([K, np.zeros((3, 1))], axis=1).reshape(-1).tolist(),
        )


def _time(time_us: int) -> Row:
    return {"seconds": time_us // 1_000_000, "nanos": time_us % 1_000_000 * 1000}


def _stamp(time_us: int, frame_id: str) -> Row:
    return {"timestamp": _time(time_us), "frame_id": frame_id}


def _pose(dst_T_src: Float[np.ndarray, "4 4"]) -> Row:
    wxyz = to_quaternion(dst_T_src).tolist()
    return {
        "position": dict(zip("xyz", dst_T_src[:3, 3].tolist(), strict=True)),
        "orientation": dict(zip("wxyz", wxyz, strict=True)),
    }
