"""Focal lengths against the official numbers and a known camera."""

import numpy as np
import pytest
from made_views import make_views

from driv3r.alignment.focal import fit_focal, vote_focal
from driv3r.alignment.pointmaps import cast_rays, centre_of
from driv3r.errors import GeometryError


def test_weiszfeld_and_median_give_the_official_numbers(golden):
    official = np.load(golden("driv3r/functions.npz"))
    points = official["motion.pts"]
    principal = np.array([32.5, 24.5])  # the official pixels are counted at their corners
    for b in range(2):
        for t in range(5):
            expected = official["motion.focals_frame_major"][t, b]
            assert fit_focal(points[b, t], principal) == pytest.approx(expected, rel=1e-6)
        assert vote_focal(points[b, 0], principal) == pytest.approx(official["focal.median"][b])
        assert fit_focal(points[b, 0], principal) == pytest.approx(official["focal.weiszfeld"][b])


def see_points(noise=0.0, outliers=0.0):
    rng = np.random.default_rng(0)
    views = make_views(1)
    points = cast_rays(views.K, (32, 48))[0] * views.depth[0, ..., None]
    points = points + rng.normal(0, noise, points.shape) * points[..., 2:]
    wild = rng.random(points.shape[:2]) < outliers
    points[wild] *= 1 + rng.normal(0, 0.3, (np.count_nonzero(wild), 3)).clip(-0.9)
    return points, views.K[0, 0, 0]


@pytest.mark.parametrize("find", [vote_focal, fit_focal])
def test_exact_points_give_the_camera(find):
    points, focal_px = see_points()
    assert find(points, centre_of((32, 48))) == pytest.approx(focal_px, rel=1e-9)


def test_noise_and_outliers_move_weiszfeld_little():
    """2 % of noise, 30 % of points off by 30 %: measured 1.7 %."""
    points, focal_px = see_points(noise=0.02, outliers=0.3)
    assert fit_focal(points, centre_of((32, 48))) == pytest.approx(focal_px, rel=0.03)


def test_weights_leave_points_out():
    points, focal_px = see_points()
    points[:, 24:] *= [1, 1, 2]
    weight = np.ones((32, 48))
    weight[:, 24:] = 0.0
    assert fit_focal(points, centre_of((32, 48)), weight) == pytest.approx(focal_px, rel=1e-9)


@pytest.mark.parametrize("find", [vote_focal, fit_focal])
@pytest.mark.parametrize("broken", ["behind", "nan", "axis", "mirrored"])
def test_points_that_show_no_focal_length_are_refused(find, broken):
    points, _ = see_points()
    points = {
        "behind": -points,
        "nan": points * np.nan,
        "axis": points * [0, 0, 1],
        "mirrored": points * [-1, -1, 1],
    }[broken]
    with pytest.raises(GeometryError):
        find(points, centre_of((32, 48)))
