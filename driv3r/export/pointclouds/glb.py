"""The log as one glTF 2.0 scene whose objects drive when its animation is played."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.export.pointclouds.clouds import object_cloud
from driv3r.export.pointclouds.gltf import LINES, POINTS, TRIANGLES, GltfBuilder
from driv3r.export.selection import SelectedLog
from driv3r.fusion.mesh import make_mesh
from driv3r.geometry.transforms import to_quaternion
from driv3r.types import MovingObjects

Y_UP = [-float(np.sqrt(0.5)), 0.0, 0.0, float(np.sqrt(0.5))]  # x y z w: -90 degrees about x


def write_points(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """scene.glb: the static map as points, each object's points on a moving node, the path.

    glTF is y up: the root node turns the log's world (z up, metres) by -90 degrees about x. Colours
    are linear, as glTF wants them. Time 0 of the animation is the first chosen frame.
    """
    builder = GltfBuilder()
    static = selected.static
    nodes = []
    if len(static.index):
        mesh = builder.add_mesh("static", POINTS, static.points_world, static.rgb)
        nodes.append(builder.add_node(name="static", mesh=mesh))
    return _finish(builder, nodes, selected, folder) | {"points": len(static.index)}


def write_mesh(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """scene.glb: the surface of the static map as triangles, the rest as write_points has it.

    Voxels without a normal are in no surface. ConfigError without scikit-image.
    """
    builder = GltfBuilder()
    mesh = make_mesh(selected.static)
    nodes = []
    if len(mesh.faces):
        number = builder.add_mesh("static", TRIANGLES, mesh.vertices_world, mesh.rgb, mesh.faces)
        nodes.append(builder.add_node(name="static", mesh=number))
    return _finish(builder, nodes, selected, folder) | {"triangles": len(mesh.faces)}


def _finish(
    builder: GltfBuilder, nodes: list[int], selected: SelectedLog, folder: Path
) -> dict[str, Any]:
    tracks = np.unique(selected.moving.track_id).tolist()
    nodes += [_add_object(builder, selected, track_id) for track_id in tracks]
    path = [pose[:3, 3] for _, _, pose in selected.known_frames]
    if "path" in selected.layers and len(path) > 1:
        pairs = np.repeat(np.array(path), 2, axis=0)[1:-1]  # trimesh reads no strips
        white = np.full((len(pairs), 3), 255, np.uint8)
        mesh = builder.add_mesh("path", LINES, pairs, white)
        nodes.append(builder.add_node(name="path", mesh=mesh))
    world: dict[str, Any] = {"name": "world", "rotation": Y_UP}
    root = builder.add_node(**world | ({"children": nodes} if nodes else {}))
    builder.save(folder / "scene.glb", root)
    return {"objects": len(tracks), "up": "y; the node 'world' turns z up to y up"}


def _add_object(builder: GltfBuilder, selected: SelectedLog, track_id: int) -> int:
    """A node that moves; it is shrunk to nothing while its object is not there."""
    moving = selected.moving
    cloud = object_cloud(selected, track_id)
    states = np.flatnonzero(moving.track_id == track_id)
    states = states[np.argsort(moving.time_us[states])]
    name = f"object_{track_id:04d}"
    translation, rotation = _moves(moving, states)
    node: dict[str, Any] = {
        "name": name,
        "translation": translation[0].tolist(),
        "rotation": rotation[0].tolist(),
        "extras": {"track_id": track_id, "size_m": moving.size_m[track_id].tolist()},
    }
    if len(cloud.points):
        node["mesh"] = builder.add_mesh(name, POINTS, cloud.points, cloud.rgb)
    number = builder.add_node(**node)
    start_us, last_us = int(selected.time_us[0]), int(selected.time_us[-1])
    seconds = ((moving.time_us[states] - start_us) * 1e-6).astype(np.float32)
    keys = builder.add_array(seconds, bounds=True)
    builder.animate(number, "translation", keys, translation, "LINEAR")
    builder.animate(number, "rotation", keys, rotation, "LINEAR")
    appears, leaves = int(moving.time_us[states[0]]), int(moving.time_us[states[-1]])
    shown = {start_us: 0.0, appears: 1.0}
    if leaves < last_us:
        shown[leaves + 1] = 0.0
    at_s = (np.array([t - start_us for t in sorted(shown)]) * 1e-6).astype(np.float32)
    scales = np.array([shown[t] for t in sorted(shown)])[:, None].repeat(3, axis=1)
    builder.animate(number, "scale", builder.add_array(at_s, bounds=True), scales, "STEP")
    return number


def _moves(
    moving: MovingObjects, states: np.ndarray
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 4"]]:
    """Translations, and quaternions x y z w without jumps of sign, which players do not expect."""
    world_T_object = moving.world_T_object[states]
    xyzw = to_quaternion(world_T_object)[:, [1, 2, 3, 0]]
    turned = np.cumprod(np.where((xyzw[1:] * xyzw[:-1]).sum(-1) < 0, -1.0, 1.0))
    xyzw[1:] *= turned[:, None]
    return world_T_object[:, :3, 3], xyzw
