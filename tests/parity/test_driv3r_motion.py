"""Driv3R's dynamic mask against its official arrays."""

import numpy as np
import pytest

from driv3r.alignment.motion_segmentation import (
    DRIV3R_PAIRS,
    depth_like_driv3r,
    flow_like_driv3r,
    score_like_driv3r,
)


@pytest.fixture(scope="module")
def official(golden) -> dict[str, np.ndarray]:
    with np.load(golden("driv3r/functions.npz")) as file:
        return {name: file[name] for name in file.files if name.split(".")[0] in ("motion", "warp")}


def unpair(official, what: str) -> np.ndarray:
    """Values of the five frames from those of the pairs, each of which agrees."""
    frames: dict[int, np.ndarray] = {}
    for pair, names in enumerate(DRIV3R_PAIRS):
        for frame, side in zip(names, ("fir", "sec"), strict=True):
            value = official[f"motion.{side}_{what}"][:, pair]
            np.testing.assert_array_equal(frames.setdefault(frame, value), value)
    return np.stack([frames[i] for i in range(5)], 1)


def last(flow: np.ndarray) -> np.ndarray:
    return np.moveaxis(flow, 2, -1)


def assert_matches(ours: np.ndarray, official: np.ndarray, limit: float = 1e-5) -> None:
    assert ours.shape == official.shape
    assert np.abs(ours - official).max() <= limit * np.abs(official).max()


def test_depths_and_flows_are_the_official_ones(official):
    assert official["motion.pairs"].tolist() == [list(pair) for pair in DRIV3R_PAIRS]
    cam_T_first, K = unpair(official, "extrinsics"), unpair(official, "intrinsics")[..., :3, :3]
    depth_m = depth_like_driv3r(official["motion.pts"], cam_T_first)
    assert_matches(depth_m, unpair(official, "depths"))
    first, second = np.array(DRIV3R_PAIRS).T
    for here, there, name in ((first, second, "fir_sec"), (second, first, "sec_fir")):
        flow = flow_like_driv3r(
            depth_m[:, here], cam_T_first[:, here], cam_T_first[:, there], K[:, here], K[:, there]
        )
        assert_matches(flow, last(official[f"motion.ego_flow_{name}"]))
    K = official["warp.intrinsics"][..., :3, :3]
    poses = official["warp.fir_extrinsics"], official["warp.sec_extrinsics"]
    flow = flow_like_driv3r(official["warp.fir_depths"], *poses, K, K)
    assert_matches(flow, last(official["warp.flow_use_depth_True"]))


def test_dynamic_scores_and_masks_are_the_official_ones(official):
    scores = score_like_driv3r(
        official["motion.pts"],
        unpair(official, "extrinsics"),
        unpair(official, "intrinsics")[..., :3, :3],
        last(official["motion.flows_fir_sec"]),
        last(official["motion.flows_sec_fir"]),
    )
    assert_matches(scores, official["motion.dynamic_score"])
    mask = scores > official["motion.mask_thresh"]
    np.testing.assert_array_equal(mask, official["motion.dynamic_mask"])


def test_the_published_score_has_no_answer_to_an_even_error():
    points = np.ones((1, 5, 6, 8, 3))
    K = np.broadcast_to(np.eye(3), (1, 5, 3, 3))
    still = np.broadcast_to(np.eye(4), (1, 5, 4, 4))
    flow = np.zeros((1, 6, 6, 8, 2))
    exact = flow_like_driv3r(points[:, [0], ..., 2], *[still[:, :1]] * 2, *[K[:, :1]] * 2)
    assert np.isnan(score_like_driv3r(points, still, K, flow + exact, flow + exact)).all()
