import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import StoreError
from driv3r.store.morton import morton_order


def slow_key(voxel: tuple[int, int, int], edge: int) -> tuple[tuple[int, ...], int]:
    tile = tuple(math.floor(i / edge) for i in voxel)
    code = 0
    for bit in range(21):
        for axis in range(3):
            cell = voxel[axis] - tile[axis] * edge
            code |= ((cell >> bit) & 1) << (3 * bit + axis)
    return tile, code


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-(2**24), 2**24)] * 3), max_size=30),
    st.sampled_from([(0.1, 256), (0.2, 128), (0.4, 64), (0.3, 85), (5e-5, 512000), (25.6, 1)]),
)
def test_order_is_that_of_a_slow_interleave(voxels, voxel):
    voxel_m, edge = voxel
    index = np.array(voxels, np.int64).reshape(-1, 3)
    order = morton_order(index, voxel_m)
    expected = sorted(range(len(voxels)), key=lambda i: slow_key(voxels[i], edge))
    assert order.tolist() == expected


@pytest.mark.parametrize("voxel_m", [0.0, -0.2, math.nan, math.inf, 30.0, 1e-6])
def test_senseless_voxels_are_refused(voxel_m):
    with pytest.raises(StoreError, match="voxel_m"):
        morton_order(np.zeros((1, 3), np.int64), voxel_m)
