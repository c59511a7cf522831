"""nerfstudio's data format (docs.nerf.studio/quickstart/data_conventions.html)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import ConfigError
from driv3r.export.cameras.depth import encode_mm, save_png
from driv3r.export.cameras.images import read_working, save_image
from driv3r.export.cameras.views import PosedView, list_views
from driv3r.export.pointclouds.clouds import static_cloud
from driv3r.export.pointclouds.ply import tabulate, write_ply
from driv3r.export.selection import SelectedLog

MOVES = 0.5  # motion probability from which on a pixel is masked
# OpenGL's camera (x right, y up, z backward) seen from OpenCV's (x right, y down, z forward)
CV_T_GL = np.diag([1.0, -1.0, -1.0, 1.0])


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """transforms.json, depths/, masks/, points.ply; images/ where they are asked for.

    All at the working size, whose crop the maps belong to. transform_matrix is world_T_cam with
    OpenGL's camera axes; cx and cy count from the corner of the first pixel, as nerfstudio's rays
    do. Depth is z in millimetres (nerfstudio's default), 0 for none: from 65.535 m on it is none,
    and counted. A mask is 0 where the surface moves, else 255. The world stays as it is (z up,
    metres). Raises ConfigError for a rational lens (k4 to k6), which nerfstudio does not have.
    """
    counts = {"images": 0, "too_far_pixels": 0, "masked_pixels": 0}
    frames = []
    views = list(list_views(selected))
    for frame in sorted({view.frame for view in views}):
        prediction = selected.store.prediction(frame)
        for view in (v for v in views if v.frame == frame):
            codes, too_far = encode_mm(prediction.depth_m[view.view])
            save_png(folder / f"depths/{view.stem}.png", codes)
            moves = prediction.motion[view.view] >= MOVES
            mask = np.where(moves, 0, 255).astype(np.uint8)
            save_png(folder / f"masks/{view.stem}.png", mask)
            _write_image(selected, view, folder)
            frames.append(describe_view(view))
            counts["images"] += 1
            counts["too_far_pixels"] += too_far
            counts["masked_pixels"] += int(moves.sum())
    document: dict[str, Any] = {"frames": frames}
    if "static" in selected.layers:
        write_ply(folder / "points.ply", tabulate(static_cloud(selected)))
        document["ply_file_path"] = "points.ply"
    (folder / "transforms.json").write_text(json.dumps(document, indent=1) + "\n")
    written = selected.selection.images != "none"
    remedy = "written" if written else "not written: --images copy and --root bring them"
    return counts | {"image_files": remedy}


def describe_view(view: PosedView) -> dict[str, Any]:
    """One entry of `frames`."""
    camera = view.working
    K = camera.K
    if K[0, 1] != 0:
        raise ConfigError(
            f"camera {camera.name} has skew {K[0, 1]:g}, which nerfstudio can not hold: take --to "
            "colmap --images undistort"
        )
    return {
        "file_path": _name_image(view),
        "depth_file_path": f"depths/{view.stem}.png",
        "mask_path": f"masks/{view.stem}.png",
        "transform_matrix": (view.world_T_cam @ CV_T_GL).tolist(),
        "camera_model": "OPENCV",
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "cx": K[0, 2],
        "cy": K[1, 2],
        "w": camera.size_hw[1],
        "h": camera.size_hw[0],
        "time": view.time_us * 1e-6,
    }


def _name_image(view: PosedView) -> str:
    return f"images/{view.stem}{'.png' if view.suffix == '.png' else '.jpg'}"


def _write_image(selected: SelectedLog, view: PosedView, folder: Path) -> None:
    selection = selected.selection
    if selection.root is not None and selection.images != "none":
        save_image(folder / _name_image(view), read_working(selection.root, view))
