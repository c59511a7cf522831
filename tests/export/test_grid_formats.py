"""Grids of cells, held against the definitions of Occ3D and of ROS's map_server."""

import cv2
import numpy as np
import pytest
import yaml
from made_drive import LOST, START_US, STEP_US, make_moving, make_static, place_ego

from driv3r.errors import ConfigError

FREE, OTHERS, A_CAR, A_PEDESTRIAN = 17, 0, 4, 7
MOVING = make_moving()


def cell_of(point_world: np.ndarray, frame: int) -> tuple[int, int, int]:
    """Occ3D: 0.4 m cells of the ego frame from -40, -40, -1."""
    place = np.linalg.inv(place_ego(START_US + STEP_US * frame))
    x, y, z = (place @ np.append(point_world, 1.0))[:3]
    return int((x + 40) // 0.4), int((y + 40) // 0.4), int((z + 1) // 0.4)


def test_occupancy_is_in_the_cars_own_axes(export):
    folder = export("occupancy")
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {f"{f:06d}" for f in range(4)}
    assert f"{LOST:06d}" not in {p.name for p in folder.iterdir()}
    points = make_static().points_world
    for frame in (0, 3):
        labels = np.load(folder / f"{frame:06d}/labels.npz")
        semantics = labels["semantics"]
        assert semantics.shape == (200, 200, 16)
        assert semantics.dtype == np.uint8
        road = {cell_of(p, frame) for p in points}
        assert {tuple(cell) for cell in np.argwhere(semantics == OTHERS)} <= road
        objects = {
            cell_of((MOVING.world_T_object[state] @ np.append(p.astype(float), 1.0))[:3], frame)
            for state in np.flatnonzero(MOVING.frame == frame)
            for p in MOVING.points_object[MOVING.points_track == MOVING.track_id[state]]
        }
        taken = {tuple(cell) for cell in np.argwhere(semantics != FREE)}
        assert taken == road | objects
        assert {tuple(cell) for cell in np.argwhere(semantics == A_CAR)} == objects
    labels = np.load(folder / "000001/labels.npz")
    assert set(np.unique(labels["semantics"])) == {OTHERS, A_CAR, A_PEDESTRIAN, FREE}


def test_what_a_camera_sees_is_before_the_road_and_ahead(export):
    labels = np.load(export("occupancy", frames=(0, 1)) / "000000/labels.npz")
    assert not labels["mask_lidar"].any()
    seen = labels["mask_camera"]
    car = np.array([0.0, 0.3, 0.0])  # the place of the car in frame 0
    assert seen[cell_of(car + [8.0, 0.0, 0.2], 0)]  # the road ahead
    assert seen[cell_of(car + [8.0, 0.0, 0.5], 0)]  # free space before it
    assert seen[cell_of(car + [-8.0, 0.0, 0.2], 0)]  # the road behind
    assert not seen[cell_of(car + [8.0, 0.0, -0.9], 0)]  # under the road
    assert not seen[cell_of(car + [0.0, 8.0, 0.5], 0)]  # beside: no camera looks there
    assert not seen[cell_of(car + [8.0, 0.0, 4.0], 0)]  # the sky: no depth


def test_the_2d_map_is_as_map_server_reads_it(export):
    folder = export("ros-map")
    told = yaml.safe_load((folder / "map.yaml").read_text())
    image = cv2.imread(str(folder / told["image"]), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    assert image.ndim == 2
    assert told["mode"] == "trinary"
    assert told["negate"] == 0

    def look(x: float, y: float) -> str:
        """map_server: the lower left pixel's corner is the origin; p = (255 - grey) / 255."""
        column = int((x - told["origin"][0]) / told["resolution"])
        row = image.shape[0] - 1 - int((y - told["origin"][1]) / told["resolution"])
        share = (255 - int(image[row, column])) / 255
        if share > told["occupied_thresh"]:
            return "occupied"
        return "free" if share < told["free_thresh"] else "unknown"

    static = make_static()
    for x, y, z in static.index[static.index[:, 2] == 0][:240:7]:
        assert look((x + 0.5) * 0.2, (y + 0.5) * 0.2) == "free", (x, y, z)
    assert look(15.5 * 0.2, 21.5 * 0.2) == "occupied"
    assert look(-18.5 * 0.2, 0.5 * 0.2) == "unknown"  # between voxels, which are 0.4 m apart
    x, y, _ = place_ego(START_US + 3 * STEP_US)[:3, 3]
    assert look(x, y) == "free"


def test_a_map_without_points_is_refused(export):
    with pytest.raises(ConfigError, match="--crop"):
        export("ros-map", crop_world_m=(900.0, 900.0, 0.0, 901.0, 901.0, 1.0))
