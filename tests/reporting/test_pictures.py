import cv2
import numpy as np
import pytest

from driv3r.errors import ConfigError
from driv3r.reporting.images import (
    COLUMNS,
    GREY,
    colour_depth,
    colour_error,
    colour_motion,
    compose_sheet,
    encode_jpeg,
)


def turbo_index(rgb: np.ndarray) -> np.ndarray:
    """Which entry of OpenCV's own turbo map each colour is."""
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    off = np.abs(rgb[..., None, :].astype(int) - turbo[:, 0, ::-1].astype(int)).sum(-1)
    assert (off.min(-1) == 0).all()
    return off.argmin(-1)


def test_equal_ratios_of_depth_are_equal_steps_of_colour():
    depth_m = np.geomspace(2, 80, 256)[None]
    np.testing.assert_array_equal(turbo_index(colour_depth(depth_m))[0], np.arange(255, -1, -1))
    doubling = turbo_index(colour_depth(np.array([[3.0, 6, 12, 24, 48]]), 1.5, 96.0))[0]
    assert np.ptp(np.diff(doubling)) <= 1


def test_depth_outside_the_bar_takes_its_ends_and_no_depth_is_grey():
    depth_m = np.array([[0.1, 2, 80, np.inf, np.nan, 0, -3]])
    painted = colour_depth(depth_m)[0]
    assert (painted[0] == painted[1]).all()
    assert (painted[3] == painted[2]).all()
    assert (painted[4:] == GREY).all()


def test_depth_range_must_be_one():
    with pytest.raises(ConfigError, match="near_m < far_m"):
        colour_depth(np.ones((2, 2)), 5.0, 5.0)


def dots(truth_m, predicted_m, uv, image=None):
    image = np.full((20, 30, 3), 200, np.uint8) if image is None else image
    return colour_error(
        np.array(uv, float), np.array(truth_m, float), np.array(predicted_m, float), image
    )


def test_error_runs_from_blue_to_red_and_stops_at_half():
    uv = [(3.5, 5.5), (9.5, 5.5), (15.5, 5.5), (21.5, 5.5), (27.5, 5.5)]
    painted = dots([10] * 5, [10, 14.9, 15, 1e6, np.nan], uv)
    good, bad, half, far, none = painted[5, [3, 9, 15, 21, 27]].astype(int)
    assert good[2] > good[0] + 100
    assert bad[0] > bad[2] + 100
    assert (half == far).all()
    assert (none == GREY).all()
    assert (painted[15:] == 70).all()  # 0.35 of the image where no point fell


def test_error_is_relative_to_the_truth_not_to_the_prediction():
    painted = dots([10, 20], [15, 15], [(5.5, 5.5), (15.5, 5.5)])
    half, quarter = painted[5, 5], painted[5, 15]
    assert (dots([100], [150], [(5.5, 5.5)])[5, 5] == half).all()
    assert (dots([8], [6], [(5.5, 5.5)])[5, 5] == quarter).all()
    assert not (half == quarter).all()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_near_dot_covers_far_one_in_any_order(order):
    truth_m, predicted_m = np.array([5.0, 50.0])[order], np.array([5.0, 100.0])[order]
    painted = dots(truth_m, predicted_m, [(7.2, 7.9), (7.2, 7.9)])
    assert (painted == dots([5], [5], [(7.2, 7.9)])).all()


def test_dots_on_the_rim_stay_in_the_picture():
    corners = [(0, 0), (30, 0), (0, 20), (30, 20), (29.99, 19.99)]
    assert dots([5] * 5, [5] * 5, corners).shape == (20, 30, 3)
    assert (dots([], [], np.zeros((0, 2))) == 70).all()


def test_motion_reddens_with_probability_and_spares_the_unknown():
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    probability = np.zeros((40, 60))
    probability[:, 20:30], probability[:, 40:] = 0.3, np.nan
    still = colour_motion(image, np.zeros((40, 60)))
    painted = colour_motion(image, probability)
    assert (painted[:, :20] == still[:, :20]).all()
    assert (painted[:, 40:] == still[:, 40:]).all()
    redder = painted.astype(int)[..., 0] - painted.astype(int)[..., 2]
    assert redder[:, 20:30].mean() > redder[:, :20].mean() + 30


def plain(colour, size_hw=(50, 80)):
    return np.full((*size_hw, 3), colour, np.uint8)


def test_sheet_holds_every_picture_in_its_place():
    colours = np.arange(8).reshape(2, 4) * 25 + 40
    rows = [[plain(c) for c in row] for row in colours.tolist()]
    sheet = compose_sheet(rows, ["CAM_FRONT", "CAM_BACK"])
    places = np.array(
        [np.median(np.argwhere((sheet == c).all(-1)), axis=0) for c in colours.ravel()]
    )
    places = places.reshape(2, 4, 2)
    assert (np.diff(places[..., 0], axis=0) > 40).all()
    assert (np.diff(places[..., 1], axis=1) > 70).all()
    assert all(((sheet == c).all(-1)).sum() >= 50 * 80 for c in colours.ravel())


def test_sheet_brings_unlike_pictures_to_one_width():
    rows = [[plain(10, (500, 2000)), plain(60, (30, 40))], [plain(110, (900, 900))]]
    sheet = compose_sheet(rows, ["a", "a camera with a very long name " * 9], COLUMNS[:2])
    widths = [((sheet == c).all(-1)).any(0).sum() for c in (10, 60, 110)]
    assert min(widths) > 400
    assert max(widths) < 500


@pytest.mark.parametrize(
    ("rows", "labels", "columns"),
    [
        ([], [], COLUMNS),
        ([[]], ["a"], COLUMNS),
        ([[plain(1)]], [], COLUMNS),
        ([[plain(1)]], "a", []),
    ],
)
def test_sheet_without_sense_is_refused(rows, labels, columns):
    with pytest.raises(ConfigError, match="a label a row"):
        compose_sheet(rows, labels, columns)


def test_jpeg_keeps_colours():
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[:, :24], rgb[:, 24:] = (220, 40, 10), (20, 60, 200)
    read = cv2.imdecode(np.frombuffer(encode_jpeg(rgb), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(read.astype(int) - rgb).max() < 12
