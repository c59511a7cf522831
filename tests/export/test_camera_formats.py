"""Posed images and depth, read back by pycolmap and OpenCV, and by the formats' documents."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from made_drive import (
    ABSENT,
    MOVES_HALF,
    START_US,
    STEP_US,
    H,
    W,
    make_cameras,
    make_full,
    make_record,
    make_static,
    place_ego,
)  # fmt: skip

from driv3r.errors import ConfigError, DatasetError
from driv3r.export.cameras.colmap import describe_lens
from driv3r.export.cameras.depth import encode_depth
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.store.writer import sort_static
from driv3r.types import Camera

VIEWS = [(f, v) for f in range(4) for v in (0, 1) if (f, v) != ABSENT]


def place_camera(frame: int, view: int) -> np.ndarray:
    return place_ego(START_US + STEP_US * frame + 10_000 * view) @ make_cameras()[view].ego_T_cam


@pytest.mark.parametrize("form", ["colmap", "colmap-text"])
def test_colmap_projects_as_we_do(export, form):
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction(export(form) / "sparse/0")
    assert {image.name for image in model.images.values()} == {
        f"samples/{make_cameras()[v].name}/{f}.png" for f, v in VIEWS
    }
    points_world = np.array([[6.0, 1.0, 0.2], [12.0, -3.0, 1.0], [-9.0, 2.0, 0.0]])
    checked = 0
    for frame, view in VIEWS:
        name = f"samples/{make_cameras()[view].name}/{frame}.png"
        image = next(each for each in model.images.values() if each.name == name)
        camera = make_full(make_cameras()[view])
        points_cam = apply(invert(place_camera(frame, view)), points_world)
        uv, _, inside = project(camera, points_cam)
        for point, expected in zip(points_world[inside], uv[inside], strict=True):
            found = image.project_point(point)
            np.testing.assert_allclose(found, expected, atol=1e-3)
            checked += 1
    assert checked > 8
    static = sort_static(make_static())
    order = sorted(model.points3D)
    xyz = np.array([model.points3D[i].xyz for i in order])
    np.testing.assert_allclose(xyz, static.points_world, atol=1e-6)
    np.testing.assert_array_equal([model.points3D[i].color for i in order], static.rgb)


def test_colmap_images_are_copied_byte_for_byte(export, images_root):
    folder = export("colmap", images="copy", root=images_root)
    for frame, view in VIEWS:
        name = f"samples/{make_cameras()[view].name}/{frame}.png"
        assert (folder / "images" / name).read_bytes() == (images_root / name).read_bytes()


def test_undistorted_images_are_opencvs(export, images_root):
    pycolmap = pytest.importorskip("pycolmap")
    folder = export("colmap", images="undistort", root=images_root)
    name = "samples/CAM_BACK/1.png"
    camera = make_full(make_cameras()[1])
    K = camera.K.copy()
    K[:2, 2] -= 0.5  # OpenCV counts from the centre of the first pixel
    recorded = cv2.imread(str(images_root / name))
    expected = cv2.undistort(recorded, K, np.array(camera.distortion))
    found = cv2.imread(str(folder / "images" / name))
    inner = (slice(6, -6), slice(6, -6))  # at the borders it fills what it does not see
    assert np.abs(found[inner].astype(int) - expected[inner]).max() <= 2
    assert np.abs(recorded[inner].astype(int) - expected[inner]).max() > 5
    model = pycolmap.Reconstruction(folder / "sparse/0")
    assert {each.model.name for each in model.cameras.values()} == {"PINHOLE"}


def test_colmap_refuses_what_it_has_no_lens_for(export):
    K = np.array([[20.0, 0.5, 16.0], [0.0, 20.0, 12.0], [0.0, 0.0, 1.0]])
    with pytest.raises(ConfigError, match="undistort"):
        describe_lens(Camera("skewed", K, (H, W), np.eye(4)))
    K[0, 1] = 0.0
    rational = tuple(k / 100 for k in range(1, 9))
    number, name, values = describe_lens(Camera("rational", K, (H, W), np.eye(4), rational))
    assert (number, name, len(values)) == (6, "FULL_OPENCV", 12)


def test_missing_images_are_named(export, tmp_path):
    with pytest.raises(DatasetError, match=r"0\.png"):
        export("colmap", images="copy", root=tmp_path)
    assert not (tmp_path / "drive-1" / "colmap").exists()
    with pytest.raises(ConfigError, match="--root"):
        export("colmap", images="copy")


def test_nerfstudio_depth_lies_on_the_road(export):
    """Every pixel's ray by nerfstudio's documents: OpenGL camera, pixel centres at + 0.5."""
    folder = export("nerfstudio")
    document = json.loads((folder / "transforms.json").read_text())
    assert len(document["frames"]) == len(VIEWS)
    front = [f for f in document["frames"] if "CAM_FRONT" in f["file_path"]]
    for told in front:
        depth_m = cv2.imread(str(folder / told["depth_file_path"]), cv2.IMREAD_UNCHANGED) / 1000
        assert depth_m.shape == (told["h"], told["w"]) == (H, W)
        v, u = np.nonzero(depth_m)
        x = (u + 0.5 - told["cx"]) / told["fl_x"]
        y = (v + 0.5 - told["cy"]) / told["fl_y"]
        z_m = depth_m[v, u]
        points_gl = np.stack([x * z_m, -y * z_m, -z_m, np.ones(len(u))])
        points_world = (np.array(told["transform_matrix"]) @ points_gl)[:3]
        assert np.abs(points_world[2]).max() < 0.003
    assert (folder / document["ply_file_path"]).is_file()


def test_nerfstudio_masks_what_moves_and_has_the_cropped_images(export, images_root):
    folder = export("nerfstudio", images="copy", root=images_root)
    told = json.loads((folder / "transforms.json").read_text())["frames"][0]
    mask = cv2.imread(str(folder / told["mask_path"]), cv2.IMREAD_UNCHANGED)
    assert (mask[:, :MOVES_HALF] == 0).all()
    assert (mask[:, MOVES_HALF:] == 255).all()
    image = cv2.imread(str(folder / told["file_path"]))
    assert image.shape == (H, W, 3)
    # its first pixel is the mean of four of the crop, which begins at row 4 and column 6
    recorded = cv2.imread(str(images_root / "samples/CAM_FRONT/0.png")).astype(float)
    assert np.abs(image[0, 0] - recorded[4:6, 6:8].mean(axis=(0, 1))).max() <= 1


def test_kitti_depth_is_256_to_the_metre(export):
    folder = export("depth-png")
    truth = make_record(1).prediction.depth_m[1]
    codes = cv2.imread(str(folder / "CAM_BACK/000001.png"), cv2.IMREAD_UNCHANGED)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes == 0, np.isnan(truth))
    seen = codes > 0
    assert np.abs(codes[seen] / 256 - truth[seen]).max() <= 0.5 / 256 + 1e-4 * truth[seen].max()
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}
    assert len(names) == len(VIEWS)
    assert "CAM_BACK/000002.png" not in names


def test_too_far_a_depth_is_clipped_and_counted():
    depth_m = np.array([[np.nan, 0.0001, 1.5, 255.99, 300.0]])
    codes, clipped = encode_depth(depth_m, 256.0)
    assert codes.tolist() == [[0, 1, 384, 65533, 65535]]
    assert clipped == 1


def test_exr_holds_depth_sigma_and_motion_as_opencv_reads_it(export):
    pytest.importorskip("OpenEXR")
    path = export("depth-exr") / "CAM_FRONT/000003.exr"
    script = (
        "import cv2, numpy as np, sys;"
        "a = cv2.imread(sys.argv[1], cv2.IMREAD_UNCHANGED | cv2.IMREAD_ANYDEPTH);"
        "np.save(sys.argv[2], a)"
    )
    saved = path.with_suffix(".npy")
    environment = os.environ | {"OPENCV_IO_ENABLE_OPENEXR": "1"}
    arguments = [sys.executable, "-c", script, str(path), str(saved)]
    subprocess.run(arguments, env=environment, check=True)
    truth = make_record(3).prediction.depth_m[0]
    np.testing.assert_allclose(np.squeeze(np.load(saved)), truth, rtol=1e-4)
