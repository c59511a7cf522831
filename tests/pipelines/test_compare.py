"""The recipes that ours is compared with must be given true points: else the table flatters."""

from dataclasses import replace

import numpy as np
import pytest

from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, render_clip


@pytest.fixture(scope="module")
def compare(load_tool):
    return load_tool("compare")


@pytest.fixture(scope="module")
def clip(compare):
    return render_clip(FIRST_TRAIN_SEED + 3, ClipConfig(size_hw=compare.SIZE_HW))


@pytest.mark.parametrize("seed", range(6))
def test_both_images_points_lie_on_the_surfaces_that_the_first_one_sees(compare, clip, seed):
    """The first image's own points tell its intrinsics; by them the second's fall on its depth."""
    recipe = replace(compare.RECIPES["driv3r-recipe"], frames=2, columns=compare.SIZE_HW[1])
    images, points, valid = compare.draw_sequence(clip, recipe, np.random.default_rng(seed))
    assert images.shape == (2, 3, *compare.SIZE_HW)
    assert images.min() >= -1
    assert images.max() <= 1
    rows, columns = compare.SIZE_HW
    seen = valid[0]
    z = np.where(seen, points[0, ..., 2], np.nan)
    y, x = np.nonzero(seen)
    across = np.polyfit((points[0, ..., 0] / z)[seen], x, 1)  # focal length, principal point
    down = np.polyfit((points[0, ..., 1] / z)[seen], y, 1)
    off = np.polyval(across, (points[0, ..., 0] / z)[seen]) - x
    assert np.abs(off).max() < 1e-3
    other = points[1][valid[1] & (points[1, ..., 2] > 0.5)]
    u = np.rint(np.polyval(across, other[:, 0] / other[:, 2])).astype(int)
    v = np.rint(np.polyval(down, other[:, 1] / other[:, 2])).astype(int)
    inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    u, v, depth_m = u[inside], v[inside], other[inside, 2]
    known = seen[v, u]
    error = np.abs(depth_m / np.where(known, z[v, u], np.nan) - 1)[known]
    assert len(error) > 500
    assert np.median(error) < 0.03
