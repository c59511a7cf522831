"""COLMAP sparse models (colmap.github.io/format.html), as binary and as text files.

COLMAP's pixels are ours: (0, 0) is the corner of the first pixel, its centre (0.5, 0.5). Its
cameras are OpenCV's (x right, y down, z forward); its quaternions are w x y z of cam_T_world.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from driv3r.errors import ConfigError
from driv3r.export.cameras.images import copy_image, undistort_image
from driv3r.export.cameras.views import PosedView, list_views
from driv3r.export.selection import SelectedLog
from driv3r.geometry.pinholes import pinhole_of
from driv3r.geometry.transforms import invert, to_quaternion
from driv3r.types import Camera, StaticMap

FULL_OPENCV = 8  # coefficients
NO_ERROR = -1.0  # of a point that COLMAP did not triangulate


@dataclass(frozen=True, eq=False)
class Model:
    """What both spellings hold: `cameras` by the rig's order, numbers are from 1 on."""

    cameras: tuple[Camera, ...]
    views: tuple[PosedView, ...]
    points: StaticMap

    @property
    def wxyz_xyz(self) -> Float[np.ndarray, "n 7"]:
        """cam_T_world of every view: quaternion w x y z and translation in metres."""
        world_T_cam = np.array([view.world_T_cam for view in self.views]).reshape(-1, 4, 4)
        cam_T_world = invert(world_T_cam)
        return np.concatenate([to_quaternion(cam_T_world), cam_T_world[:, :3, 3]], axis=1)

    @property
    def point_ids(self) -> Int64[np.ndarray, "n"]:
        """Numbers of the points."""
        return np.arange(1, len(self.points.index) + 1)


def write_binary(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """sparse/0/{cameras,images,points3D}.bin; images/ where they are asked for.

    Images are named by their files in the dataset, whose root is COLMAP's image path where they are
    not copied. Points are the static map's, without tracks of features.
    """
    model = make_model(selected)
    place = folder / "sparse" / "0"
    place.mkdir(parents=True)
    cameras = [struct.pack("<Q", len(model.cameras))]
    for number, camera in enumerate(model.cameras, 1):
        code, _, values = describe_lens(camera)
        height, width = camera.size_hw
        head = struct.pack("<iiQQ", number, code, width, height)
        cameras.append(head + struct.pack(f"<{len(values)}d", *values))
    images = [struct.pack("<Q", len(model.views))]
    for number, (view, place7) in enumerate(zip(model.views, model.wxyz_xyz, strict=True), 1):
        head = struct.pack("<i7di", number, *place7, view.view + 1)
        images.append(head + view.path.encode() + b"\0" + struct.pack("<Q", 0))
    (place / "cameras.bin").write_bytes(b"".join(cameras))
    (place / "images.bin").write_bytes(b"".join(images))
    (place / "points3D.bin").write_bytes(_encode_points(model))
    return _write_images(selected, model.views, folder)


def write_text(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """sparse/0/{cameras,images,points3D}.txt, as write_binary has it."""
    model = make_model(selected)
    place = folder / "sparse" / "0"
    place.mkdir(parents=True)
    cameras = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    for number, camera in enumerate(model.cameras, 1):
        _, name, values = describe_lens(camera)
        numbers = " ".join(repr(value) for value in values)
        cameras.append(f"{number} {name} {camera.size_hw[1]} {camera.size_hw[0]} {numbers}")
    images = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then POINTS2D[], none here"]
    for number, (view, place7) in enumerate(zip(model.views, model.wxyz_xyz, strict=True), 1):
        numbers = " ".join(repr(value) for value in place7.tolist())
        images += [f"{number} {numbers} {view.view + 1} {view.path}", ""]
    points = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[], none here"]
    rows = zip(
        model.point_ids.tolist(), model.points.points_world.tolist(), model.points.rgb.tolist(),
        strict=True,
    )  # fmt: skip
    points += [f"{i} {x:.6f} {y:.6f} {z:.6f} {r} {g} {b} -1" for i, (x, y, z), (r, g, b) in rows]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        (place / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return _write_images(selected, model.views, folder)


def make_model(selected: SelectedLog) -> Model:
    """Cameras, views and points of a selection; ConfigError where COLMAP has no such lens."""
    views = tuple(list_views(selected)) if "cameras" in selected.layers else ()
    cameras = selected.store.header.full_cameras
    if selected.selection.images == "undistort":
        cameras = tuple(pinhole_of(camera) for camera in cameras)
    for camera in cameras:
        describe_lens(camera)
    return Model(cameras, views, selected.static)


def describe_lens(camera: Camera) -> tuple[int, str, Sequence[float]]:
    """COLMAP's number and name of the camera model, and its parameters."""
    if camera.K[0, 1] != 0:
        raise ConfigError(
            f"camera {camera.name} has skew {camera.K[0, 1]:g}, which no camera model of COLMAP "
            "has; give --images undistort and --root, which makes images without it"
        )
    pinhole = [float(camera.K[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))]
    lens = [float(k) for k in camera.distortion]
    if not lens:
        return 1, "PINHOLE", pinhole
    if camera.lens == "kannala_brandt":
        return 5, "OPENCV_FISHEYE", pinhole + lens
    if camera.lens != "brown_conrady" or len(lens) > FULL_OPENCV:
        raise ConfigError(
            f"camera {camera.name} has {len(lens)} coefficients of the lens {camera.lens}, which "
            "no camera model of COLMAP has; give --images undistort and --root"
        )
    if len(lens) == 4:
        return 4, "OPENCV", pinhole + lens
    return 6, "FULL_OPENCV", pinhole + lens + [0.0] * (FULL_OPENCV - len(lens))


def _encode_points(model: Model) -> bytes:
    layout = [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("n", "<u8")]
    rows = np.zeros(len(model.points.index), layout)
    rows["id"], rows["xyz"] = model.point_ids, model.points.points_world
    rows["rgb"], rows["error"] = model.points.rgb, NO_ERROR
    return struct.pack("<Q", len(rows)) + rows.tobytes()


def _write_images(
    selected: SelectedLog, views: Sequence[PosedView], folder: Path
) -> dict[str, Any]:
    selection = selected.selection
    notes: dict[str, Any] = {
        "images": len(views),
        "points": len(selected.static.index),
        "pixels": "(0, 0) is the corner of the first pixel, as COLMAP has it",
    }
    if selection.root is None or selection.images == "none":
        return notes | {"image_path": "the dataset's root; --images copy and --root bring them"}
    save = undistort_image if selection.images == "undistort" else copy_image
    for view in views:
        save(selection.root, view, folder / "images" / view.path)
    return notes | {"image_path": "images"}
