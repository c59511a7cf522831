"""Depth errors by brightness, against means taken by hand."""

import numpy as np
import pytest

from driv3r.evaluation.metrics.depth import DepthTable
from driv3r.evaluation.metrics.light import measure_brightness, score_by_light


def test_brightness_is_the_mean_luma():
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2] = [200, 100, 50]
    assert measure_brightness(image) == pytest.approx((0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 2)
    assert measure_brightness(np.full((2, 2, 3), 255, np.uint8)) == pytest.approx(255)


def test_each_band_has_the_mean_of_its_own_images():
    abs_rel = np.array([[0.1, 0.3], [np.nan, 0.5], [0.2, 0.4]])
    brightness = np.array([[120.0, 20.0], [130.0, 49.9], [90.0, 50.0]])
    n = np.array([[10, 20], [0, 30], [40, 50]])
    table = DepthTable(
        "p", "net", ("a", "b"), np.arange(3), {"metric": {"abs_rel": abs_rel}}, n, {}
    )
    found = {s.metric: (s.value, s.images, s.n) for s in score_by_light(table, brightness)}
    assert found == {
        "abs_rel_dark": (pytest.approx(0.4), 2, 50),
        "abs_rel_dim": (pytest.approx(0.4), 1, 50),
        "abs_rel_bright": (pytest.approx(0.15), 2, 50),
    }
    lost = np.full((3, 2), np.nan)  # no image: no band
    assert score_by_light(table, lost) == []
