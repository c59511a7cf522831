"""What the tool says of errors must be so where the errors are known."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import apply
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, render_clip
from driv3r.training.batches import whole_batch
from driv3r.training.clip_pool import put_on_device

SIZE_HW = (64, 112)


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("where_it_errs")


@pytest.fixture(scope="module")
def clip():
    return render_clip(FIRST_TRAIN_SEED + 3, ClipConfig(size_hw=SIZE_HW, frames=3))


@pytest.fixture
def batch(clip):
    return whole_batch(put_on_device(clip, torch.device("cpu")), 3)


def tables():
    return defaultdict(lambda: np.zeros(2))


def test_kinds_of_pixels_part_what_is_scored(tool, batch):
    kinds = tool.sort_pixels(*batch)
    parts = torch.stack([kinds[kind] for kind in kinds if kind != "all"])
    assert torch.equal(parts.sum(0), kinds["all"].long())
    assert all(part.any() for part in parts[:3])


def test_heights_are_those_of_the_points(clip, batch):
    heights_m = batch[1].height_m[0, 1]
    for v, camera in enumerate(clip.cameras):
        points_cam = rays_of(camera) * clip.depth_m[1, v][..., None].astype(float)
        points_ego = apply(camera.ego_T_cam, points_cam)
        np.testing.assert_allclose(heights_m[v], points_ego[..., 2], atol=2e-3, rtol=1e-3)


def test_a_known_error_is_told_for_every_kind(tool, batch):
    inputs, targets = batch
    kinds, sums = tool.sort_pixels(inputs, targets), tables()
    truth = tool.to_log(targets.depth_m)
    ways = {"right": truth, "a tenth too far": truth + np.log(1.1)}
    tool.tally_depths(sums, ways, kinds, targets.depth_m)
    for kind, chosen in kinds.items():
        assert sums[kind, "right"][1] == chosen.sum()
        assert sums[kind, "right"][0] == pytest.approx(0, abs=1e-6 * len(truth.flatten()))
        total, count = sums[kind, "a tenth too far"]
        assert total == pytest.approx(0.1 * count, rel=1e-3)


def test_coarse_truth_is_right_on_planes_and_blurred_at_edges(tool):
    ramp = torch.linspace(0, 1, 112).expand(1, 1, 1, 64, 112)
    inner = (..., slice(8, -8), slice(8, -8))
    assert (tool.coarsen(ramp, 8) - ramp)[inner].abs().max() < 0.1 / 111
    step = (ramp > 0.5).float()
    errors = [(tool.coarsen(step, stride) - step).abs().sum() for stride in (4, 8)]
    assert 0 < errors[0] < errors[1]


def test_a_whole_run_gives_both_tables(tool, batch):
    torch.manual_seed(0)
    network = Driv3r(Driv3rConfig(SIZE_HW, 32, 2, 1, 2, (8, 16, 16))).eval()
    depths, matches = tables(), tables()
    tool.evaluate_clip(network, *batch, depths, matches)
    text = tool.make_table(depths, depths["all", "answer"][1])
    assert text.splitlines()[0].startswith("| | share | answer | before matching")
    assert text.splitlines()[2].startswith("| all | 1.000 |")
    for kind in ("0 to 2 cells", "2 to 10 cells", "10 to 1000 cells"):
        shares = [
            matches[kind, way]
            for way in ("XFeat alone", "sweep features alone", "depth sweep", "answer")
        ]
        assert len({count for _, count in shares}) == 1
        assert all(0 <= near <= count for near, count in shares)
    assert not network.depth_sweep._forward_pre_hooks
