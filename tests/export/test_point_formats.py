"""Points and surfaces, read back by trimesh, laspy and pypcd4."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_drive import CAR, START_US, WALKER, make_moving, make_static
from scipy.spatial.transform import Rotation

from driv3r.export.pointclouds.gltf import encode_colours
from driv3r.store.writer import sort_static

STATIC, MOVING = sort_static(make_static()), make_moving()
NORMALS = np.nan_to_num(STATIC.normals_world)


def read_ply(path: Path) -> np.ndarray:
    trimesh = pytest.importorskip("trimesh")
    return trimesh.load(path, process=False).metadata["_ply_raw"]["vertex"]["data"]


def columns(rows: np.ndarray, *names: str) -> np.ndarray:
    return np.stack([np.asarray(rows[name]).reshape(-1) for name in names], axis=-1)


def objects_world(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and tracks of the points of a frame's objects, one after another."""
    points, tracks = [], []
    for state in np.flatnonzero(MOVING.frame == frame):
        for row in np.flatnonzero(MOVING.points_track == MOVING.track_id[state]):
            homogeneous = np.append(MOVING.points_object[row].astype(float), 1.0)
            points.append((MOVING.world_T_object[state] @ homogeneous)[:3])
            tracks.append(MOVING.points_track[row])
    return np.array(points), np.array(tracks)


def test_ply_is_the_static_map_and_objects_at_their_places(export):
    folder = export("ply")
    rows = read_ply(folder / "static.ply")
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), STATIC.points_world, atol=1e-6)
    np.testing.assert_allclose(columns(rows, "nx", "ny", "nz"), NORMALS, atol=1e-6)
    np.testing.assert_array_equal(columns(rows, "red", "green", "blue"), STATIC.rgb)
    np.testing.assert_array_equal(rows["weight"].reshape(-1), STATIC.weight)
    names = {path.name for path in (folder / "moving").iterdir()}
    assert names == {f"{frame:06d}.ply" for frame in range(4)}
    points, tracks = objects_world(2)
    rows = read_ply(folder / "moving/000002.ply")
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), points, atol=1e-5)
    np.testing.assert_array_equal(rows["track_id"].reshape(-1), tracks)


def test_laz_agrees_to_a_millimetre(export):
    laspy = pytest.importorskip("laspy")
    folder = export("laz")
    las = laspy.read(folder / "static.laz")
    np.testing.assert_allclose(las.xyz, STATIC.points_world, atol=0.00051)
    rgb = np.stack([las.red, las.green, las.blue], axis=-1)
    np.testing.assert_array_equal(rgb, STATIC.rgb.astype(int) * 257)
    np.testing.assert_array_equal(las["weight"], STATIC.weight)
    normals = np.stack([las[f"Normal{axis}"] for axis in "XYZ"], axis=-1)
    np.testing.assert_allclose(normals, NORMALS, atol=1e-6)
    points, tracks = objects_world(1)
    las = laspy.read(folder / "moving/000001.laz")
    np.testing.assert_allclose(las.xyz, points, atol=0.00051)
    np.testing.assert_array_equal(las["track_id"], tracks)


def test_pcd_is_the_static_map(export):
    pypcd4 = pytest.importorskip("pypcd4")
    cloud = pypcd4.PointCloud.from_path(export("pcd") / "static.pcd")
    np.testing.assert_allclose(cloud.numpy(("x", "y", "z")), STATIC.points_world, atol=1e-6)
    normals = cloud.numpy(("normal_x", "normal_y", "normal_z"))
    np.testing.assert_allclose(normals, NORMALS, atol=1e-6)
    rgb = pypcd4.PointCloud.decode_rgb(cloud.numpy(("rgb",)))
    np.testing.assert_array_equal(rgb, STATIC.rgb)
    np.testing.assert_array_equal(cloud.numpy(("weight",)).reshape(-1), STATIC.weight)


def test_gaussians_have_the_colour_and_lie_in_the_surface(export):
    folder = export("3dgs")
    rows = read_ply(folder / "point_cloud.ply")
    rest = [name for name in rows.dtype.names if name.startswith("f_rest_")]
    assert len(rest) == 3 * (3 + 1) ** 2 - 3  # what the official loader asserts of degree 3
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), STATIC.points_world, atol=1e-6)
    harmonics = columns(rows, "f_dc_0", "f_dc_1", "f_dc_2")
    shown = np.clip(harmonics / np.sqrt(4 * np.pi) + 0.5, 0, 1)  # Y_00 is 1 / sqrt(4 pi)
    np.testing.assert_allclose(shown * 255, STATIC.rgb, atol=1e-3)
    opacity = 1 / (1 + np.exp(-columns(rows, "opacity")))
    np.testing.assert_allclose(opacity, 0.5, atol=1e-6)
    sigma_m = np.exp(columns(rows, "scale_0", "scale_1", "scale_2"))
    wxyz = columns(rows, "rot_0", "rot_1", "rot_2", "rot_3")
    turn = Rotation.from_quat(wxyz[:, [1, 2, 3, 0]]).as_matrix()
    covariance = turn @ (sigma_m[:, :, None] ** 2 * np.eye(3)) @ turn.transpose(0, 2, 1)
    known = STATIC.normal.any(-1)
    across = np.einsum("ni,nij,nj->n", NORMALS, covariance, NORMALS)[known]
    np.testing.assert_allclose(np.sqrt(across), 0.02, atol=1e-6)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance)[known, 1:], 0.01, atol=1e-6)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance)[~known], 0.01, atol=1e-6)


def test_gaussians_of_objects_are_apart_with_their_poses(export):
    folder = export("3dgs")
    objects = {each["track_id"]: each for each in json.loads((folder / "objects.json").read_text())}
    assert set(objects) == {CAR, WALKER}
    rows = read_ply(folder / objects[WALKER]["file"])
    own = MOVING.points_object[MOVING.points_track == WALKER]
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), own, atol=1e-6)
    states = objects[CAR]["states"]
    assert [state["frame"] for state in states] == [0, 1, 2, 3]
    np.testing.assert_allclose(
        [state["world_T_object"] for state in states], MOVING.world_T_object[:4], atol=1e-12
    )


def decode(tree: dict, buffer: bytes, accessor: int) -> np.ndarray:
    """An accessor of floats, by the specification."""
    told = tree["accessors"][accessor]
    view = tree["bufferViews"][told["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[told["type"]]
    assert told["componentType"] == 5126
    values = np.frombuffer(buffer, "<f4", told["count"] * width, view["byteOffset"])
    return values.reshape(told["count"], width)


def read_tree(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    assert data[:4] == b"glTF"
    assert int.from_bytes(data[8:12], "little") == len(data)
    length = int.from_bytes(data[12:16], "little")
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def test_glb_has_the_points_y_up(export):
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.load(export("glb") / "scene.glb")
    transform, name = scene.graph["static"]
    cloud = scene.geometry[name]
    placed = trimesh.transform_points(cloud.vertices, transform)
    expected = STATIC.points_world[:, [0, 2, 1]] * [1, 1, -1]  # x, z, -y
    np.testing.assert_allclose(placed, expected, atol=1e-5)
    linear = (STATIC.rgb / 255.0) ** 2.2  # what sRGB's curve is near to
    assert np.abs(cloud.colors[:, :3] / 255 - linear).max() < 0.02
    assert {"object_0000", "object_0001", "path"} <= set(scene.graph.nodes)


def test_glb_keeps_every_level_of_colour():
    level = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    linear = encode_colours(level)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_array_equal(np.rint(back * 255), level)


def test_objects_of_a_glb_drive_as_their_tracks_do(export):
    tree, buffer = read_tree(export("glb") / "scene.glb")
    node = next(i for i, n in enumerate(tree["nodes"]) if n["name"] == "object_0001")
    [animation] = tree["animations"]
    paths = {}
    for channel in animation["channels"]:
        if channel["target"]["node"] == node:
            sampler = animation["samplers"][channel["sampler"]]
            keys, values = (decode(tree, buffer, sampler[k]) for k in ("input", "output"))
            paths[channel["target"]["path"]] = (keys[:, 0], values, sampler["interpolation"])
    states = np.flatnonzero(MOVING.track_id == WALKER)
    seconds = (MOVING.time_us[states] - START_US) * 1e-6
    keys, translation, _ = paths["translation"]
    np.testing.assert_allclose(keys, seconds, atol=1e-6)
    np.testing.assert_allclose(translation, MOVING.world_T_object[states, :3, 3], atol=1e-5)
    turn = Rotation.from_quat(paths["rotation"][1]).as_matrix()
    np.testing.assert_allclose(turn, MOVING.world_T_object[states, :3, :3], atol=1e-6)
    keys, scale, how = paths["scale"]
    assert how == "STEP"
    np.testing.assert_allclose(keys, [0, 0.5, 1.0 + 1e-6], atol=1e-7)
    np.testing.assert_array_equal(scale, [[0] * 3, [1] * 3, [0] * 3])
    assert tree["nodes"][node]["extras"]["track_id"] == WALKER


def test_glb_mesh_is_a_surface_where_normals_are(export):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    scene = trimesh.load(export("glb-mesh") / "scene.glb")
    assert scene.geometry, "no surface"
    road = scene.geometry[scene.graph["static"][1]]
    assert road.faces.shape[0] > 50
    heights = road.vertices[:, 2]
    assert np.abs(heights - 0.1).max() < 0.15  # of the voxels at z = 0 to 0.2 m
