"""Initial gaussians of 3D Gaussian splatting (Kerbl et al., 2023), as its PLY files hold them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from driv3r.export.pointclouds.clouds import PointCloud, object_cloud, static_cloud
from driv3r.export.pointclouds.ply import write_ply
from driv3r.export.selection import SelectedLog

SH_0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
REST = 45  # coefficients above the constant one, of degree 3 and three channels
OPACITY = 0.5  # so that a viewer shows surfaces, and training can move it either way
SIGMA_VOXELS = 0.5  # along the surface: neighbours one voxel apart overlap
FLATNESS = 0.2  # sigma across the surface, in shares of that along it, where the normal is known
OBJECT_SPACING_M = 0.1  # of an object's points
COLUMNS = [
    (name, "<f4")
    for name in (
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(REST)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    )
]


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """point_cloud.ply of the static map; object_<track>.ply a moving object, with objects.json.

    x y z in metres of the log's world (of an object: of its own frame, x forward, z up). f_dc is
    (rgb / 255 - 0.5) / SH_0, f_rest is 0, opacity a logit, scale_* natural logarithms of metres,
    rot_* a quaternion w x y z. objects.json has each track's size and world_T_object by frame.
    """
    spacing_m = selected.static.voxel_m
    if "static" in selected.layers:
        write_ply(folder / "point_cloud.ply", make_gaussians(static_cloud(selected), spacing_m))
    moving = selected.moving
    objects = []
    for track_id in np.unique(moving.track_id).tolist():
        name = f"object_{track_id:04d}.ply"
        cloud = object_cloud(selected, track_id)
        write_ply(folder / name, make_gaussians(cloud, OBJECT_SPACING_M))
        states = np.flatnonzero(moving.track_id == track_id)
        objects.append(
            {
                "track_id": track_id,
                "file": name,
                "size_m": moving.size_m[track_id].tolist(),
                "states": [
                    {
                        "frame": int(moving.frame[s]),
                        "time_us": int(moving.time_us[s]),
                        "world_T_object": moving.world_T_object[s].tolist(),
                    }
                    for s in states
                ],
            }
        )
    if "moving" in selected.layers:
        (folder / "objects.json").write_text(json.dumps(objects) + "\n")
    return {"gaussians": len(selected.static.index), "objects": len(objects), "opacity": OPACITY}


def make_gaussians(cloud: PointCloud, spacing_m: float) -> Shaped[np.ndarray, "n"]:
    """A gaussian a point: a disc in the surface where its normal is known, else a ball."""
    n = len(cloud.points)
    rows = np.zeros(n, COLUMNS)
    known = cloud.normals.any(-1)
    sigma_m = SIGMA_VOXELS * spacing_m
    for i, axis in enumerate("xyz"):
        rows[axis], rows[f"n{axis}"] = cloud.points[:, i], cloud.normals[:, i]
        rows[f"f_dc_{i}"] = (cloud.rgb[:, i] / 255.0 - 0.5) / SH_0
        rows[f"scale_{i}"] = np.log(sigma_m)
    rows["scale_2"] = np.log(np.where(known, FLATNESS * sigma_m, sigma_m))
    rows["opacity"] = np.log(OPACITY / (1 - OPACITY))
    for i, part in enumerate(_turn_z_to(cloud.normals).T):
        rows[f"rot_{i}"] = part
    return rows


def _turn_z_to(normals: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 4"]:
    """Quaternions w x y z of the shortest turn from z to a normal; 1 0 0 0 where it is 0 0 0.

    A disc has no front, so that normals that point down are taken upwards, far from a half turn.
    """
    up = np.where(normals[:, 2:] < 0, -normals, normals).astype(np.float64)
    quaternion = np.stack([1 + up[:, 2], -up[:, 1], up[:, 0], np.zeros(len(up))], axis=-1)
    return quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
