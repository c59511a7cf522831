import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driv3r.store import codec

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, 40, elements=st.floats(np.float32(0.05), 1000.0, width=32)))
def test_depth_in_range_returns_within_1e_4(depth_m):
    back = codec.DEPTH.decode(codec.encode_depth(depth_m))
    assert (np.abs(back / depth_m.astype(np.float64) - 1) <= 1e-4).all()


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (3, 3, 4), elements=FLOATS))
def test_depth_without_a_code_has_the_right_reason(depth_m):
    present, scaled = np.array([True, False, True]), np.array([True, False, False])
    reason = codec.explain_depth(depth_m, present, scaled)
    assert (reason[1] == codec.NO_INPUT).all()
    assert (reason[2] == codec.UNSCALED).all()
    for d, r, code in zip(
        depth_m[0].flat, reason[0].flat, codec.encode_depth(depth_m[0]).flat, strict=True
    ):
        expected = (
            codec.NON_FINITE
            if not np.isfinite(d)
            else codec.OK
            if 0.05 <= d <= 1000
            else codec.OUT_OF_RANGE
        )
        assert r == expected
        assert (code == 0) == (expected != codec.OK)


def test_depth_and_sigma_codes_are_fixed_points():
    for code, kind in ((codec.DEPTH, np.uint16), (codec.SIGMA, np.uint8)):
        every = np.arange(code.last + 1, dtype=kind)
        assert code.encode(code.decode(every)[2:-1]).tolist() == every[2:-1].tolist()
        assert np.isnan(code.decode(every[:1])).all()
    ends = codec.encode_depth(np.array([0.05, 1000.0], np.float32))
    assert ends.tolist() == [1, 65535]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, 20, elements=FLOATS))
def test_sigma_is_clamped_and_within_two_percent(sigma):
    back = codec.SIGMA.decode(codec.encode_sigma(sigma))
    for given_sigma, got in zip(sigma.astype(np.float64), back, strict=True):
        if np.isfinite(given_sigma) and given_sigma > 0:
            expected = min(max(given_sigma, 1e-3), 10.0)
            assert abs(got / expected - 1) < 0.019
        else:
            assert np.isnan(got)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, 20, elements=FLOATS))
def test_motion_is_within_half_a_code(motion):
    back = codec.decode_motion(codec.encode_motion(motion))
    finite = np.isfinite(motion)
    assert np.isnan(back[~finite]).all()
    expected = np.clip(motion[finite].astype(np.float64), 0, 1)
    assert (np.abs(back[finite] - expected) <= 1 / 508 + 1e-6).all()


def test_one_half_is_kept_exactly():
    assert codec.decode_motion(codec.encode_motion(np.array([0.0, 0.5, 1.0]))).tolist() == [
        0,
        0.5,
        1,
    ]
