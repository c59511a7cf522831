"""The picture of a reconstruction: what is nearer hides what is behind, and a log is drawn."""

import cv2
import numpy as np


def test_the_nearest_splat_is_seen_at_its_place(load_tool):
    tool = load_tool("draw_reconstruction")
    eye = tool.Eye(np.array([0.0, 0, 1]), np.array([9.0, 0, 1]), (40, 60), 60.0)
    points = np.array([[30.0, 0, 1], [10, 0, 1], [20, 0, 1], [10, -2, 1], [-10, 0, 1]])
    rgb = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0], [9, 9, 9]], np.uint8)
    image, depth_m = tool.draw(eye, tool.PointSet(points, rgb, np.full(5, 0.5)))
    assert image[20, 30].tolist() == [0, 9, 0]
    assert depth_m[20, 30] == 10
    assert image[20, 42].tolist() == [9, 9, 0]  # 2 m to the right at 10 m: 12 pixels
    assert np.isinf(depth_m).sum() == depth_m.size - 2 * 3 * 3


def test_a_log_is_drawn(load_tool, finished, tmp_path, monkeypatch):
    tool = load_tool("draw_reconstruction")
    log = finished[1] / "scene-0003.zarr"
    picture = tmp_path / "picture.jpg"
    size = ["--width", "160", "--height", "96"]
    monkeypatch.setattr("sys.argv", ["draw", str(log), str(picture), *size])
    tool.main()
    image = cv2.imread(str(picture))
    assert image.shape == (96, 160, 3)
    assert (image > 40).any(-1).mean() > 0.1
