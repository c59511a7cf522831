import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.geometry.cameras import project, unproject
from driv3r.geometry.transforms import apply, invert, make_transform
from driv3r.network.losses import share_out
from driv3r.network.sweep import (
    SPEEDS_MPS,
    STRIDE,
    YAW_RATES,
    DepthSweep,
    EgoSweep,
    Lenses,
    Matcher,
    drive,
    follow,
    hypotheses,
    look_back,
    read_volume,
    thin,
)
from driv3r.types import Camera

SIZE_HW = (128, 192)
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def make_cameras() -> list[Camera]:
    """Two cameras, one ahead and one to the left."""
    K = np.array([[120.0, 0, 96], [0, 120, 64], [0, 0, 1]])
    left = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    place = np.array([1.5, 0.3, 1.6])
    return [
        Camera(name, K, SIZE_HW, make_transform(turn @ FORWARD, place))
        for name, turn in (("front", np.eye(3)), ("left", left))
    ]


def make_lenses() -> Lenses:
    y, x = (np.arange(n // STRIDE) * STRIDE + STRIDE / 2 for n in SIZE_HW)
    centres = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    cameras = make_cameras()
    rays = np.stack([unproject(c, centres) for c in cameras])
    rays = rays / rays[..., 2:]
    tensors = (rays, [c.K for c in cameras], [c.ego_T_cam for c in cameras])
    return Lenses(*(torch.from_numpy(np.stack(a)[None]).float() for a in tensors), SIZE_HW)


@given(st.floats(-30, 30), st.floats(-1, 1), st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_driving_twice_on_a_circle_is_driving_twice_as_long(speed_mps, yaw_rate, gap_s):
    """The chord is shorter than the arc, so the speed is scaled to the same arc."""

    def chord_T(gap: float) -> torch.Tensor:
        half = yaw_rate * gap / 2
        chord_mps = speed_mps * float(np.sinc(half / np.pi))
        return drive(*(torch.tensor(x, dtype=torch.float64) for x in (chord_mps, yaw_rate, gap)))

    torch.testing.assert_close(chord_T(gap_s) @ chord_T(gap_s), chord_T(2 * gap_s))


def test_looking_back_is_projecting_into_where_the_camera_was():
    lenses = make_lenses()
    depth_m = torch.rand(1, 1, 2, lenses.rays_cam.shape[2], 1) * 20 + 5
    last_T_ego = drive(torch.tensor([[[6.0]]]), torch.tensor([[[0.3]]]), torch.tensor([[[0.5]]]))
    pixels = look_back(lenses, last_T_ego, depth_m)[0, 0, ..., 0, :].numpy()
    for i, camera in enumerate(make_cameras()):
        points_cam = (lenses.rays_cam[0, i] * depth_m[0, 0, i]).double().numpy()
        points_ego = apply(camera.ego_T_cam, points_cam)
        points_last = apply(last_T_ego[0, 0, 0].double().numpy(), points_ego)
        uv, z = project(camera, apply(invert(camera.ego_T_cam), points_last))[:2]
        ahead = z > 0.5
        assert ahead.sum() > 20
        np.testing.assert_allclose(pixels[i][ahead], uv[ahead], atol=0.02)


def test_a_volume_is_read_between_its_cells_and_is_silent_outside():
    ramp = torch.arange(12.0).expand(8, 12) + 10 * torch.arange(8.0)[:, None]
    volume = ramp.expand(1, 1, 1, 1, 8, 12)
    pixels = torch.tensor([[4.0, 4.0], [10.0, 20.0], [-90.0, 9.0]])
    read = read_volume(volume, pixels.expand(1, 1, 1, 1, 3, 2)).flatten()
    torch.testing.assert_close(read, torch.tensor([0.0, 0.75 + 20.0, 0.0]))


@pytest.mark.parametrize(("speed_mps", "yaw_rate"), [(7.3, 0.08), (0.0, 0.0), (21.0, -0.03)])
def test_the_cells_vote_for_the_true_motion(speed_mps, yaw_rate):
    lenses = make_lenses()
    n = lenses.rays_cam.shape[2]
    torch.manual_seed(0)
    depth_m = 8 + 12 * torch.rand(1, 1, 2, n)
    gap_s = torch.tensor([[0.5]])
    truth = drive(torch.tensor([[[speed_mps]]]), torch.tensor([[[yaw_rate]]]), gap_s[..., None])
    seen = look_back(lenses, truth, depth_m[..., None])[:, :, :, :, 0]
    y, x = (torch.arange(k // STRIDE) * STRIDE + STRIDE / 2.0 for k in SIZE_HW)
    there = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    distance = (seen[..., None, None, :] - there).norm(dim=-1)
    volume = 30 * torch.exp(-((distance / STRIDE / 2) ** 2))
    sweep = EgoSweep(8)
    torch.nn.init.constant_(sweep.weight.bias, 3.0)
    tokens = torch.zeros(1, 1, 2, n // 4, 8)
    with torch.no_grad():
        best, chances, after = sweep(tokens, volume, depth_m, lenses, gap_s, torch.zeros(1, 3))
    assert abs(float(best[0, 0, 0]) - speed_mps) < 0.15
    assert abs(float(best[0, 0, 1]) - yaw_rate) < 0.01
    torch.testing.assert_close(chances.exp().sum(), torch.tensor(1.0))
    assert after[0, 2] == 1


def test_what_no_car_can_do_is_not_believed_and_the_order_of_frames_matters():
    """Two speeds are as likely by what is seen; the one near the last speed is taken."""
    rates = hypotheses((5.0, 15.0), (0.0,), torch.zeros(1)).expand(1, 3, 2, 2)
    votes = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.0, 0.5]]])
    gap_s = torch.tensor([[0.0, 0.5, 0.5]])
    best, _, _ = follow(votes, rates, gap_s, torch.zeros(1, 3))
    assert float(best[0, 0, 0]) == 10.0  # nothing seen, nothing known
    assert float(best[0, 2, 0]) < 6.0
    alone, _, _ = follow(votes[:, 2:], rates[:, 2:], gap_s[:, 2:], torch.zeros(1, 3))
    assert float(alone[0, 0, 0]) > 10.0
    streamed, _, _ = follow(votes[:, 2:], rates[:, 2:], gap_s[:, 2:], _after(votes))
    torch.testing.assert_close(streamed[0, 0], best[0, 2])


def _after(votes: torch.Tensor) -> torch.Tensor:
    """What is known after the first two frames of the test above."""
    rates = hypotheses((5.0, 15.0), (0.0,), torch.zeros(1)).expand(1, 2, 2, 2)
    return follow(votes[:, :2], rates, torch.tensor([[0.0, 0.5]]), torch.zeros(1, 3))[2]


def test_features_correlate_most_with_themselves_and_cells_are_thinned_in_rows():
    torch.manual_seed(0)
    matcher = Matcher(channels=16)
    features = matcher(torch.randn(1, 1, 2, 3, *SIZE_HW))
    volume = matcher.correlate(features, features).flatten(-2)
    own = volume.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(own, volume.amax(-1))
    torch.testing.assert_close(volume.mean(-1), torch.zeros_like(own), atol=1e-5, rtol=0)
    cells = torch.arange(16 * 24)
    assert thin(cells, SIZE_HW, 2, -1)[10:14].tolist() == [20, 22, 48, 50]


def test_an_untrained_depth_sweep_changes_nothing_and_a_trained_one_sees_the_evidence():
    torch.manual_seed(0)
    lenses, sweep = make_lenses(), DepthSweep(8)
    x, volume = torch.randn(1, 1, 2, 8, 16, 24), torch.randn(1, 1, 2, 384, 16, 24)
    depth_m, motion = torch.full((1, 1, 2, 384), 9.0), torch.eye(4).expand(1, 1, 4, 4)
    proves = torch.ones(1, 1, 2, dtype=torch.bool)
    torch.testing.assert_close(sweep(x, volume, depth_m, lenses, motion, proves), x)
    torch.nn.init.normal_(sweep.out.weight)
    seen = sweep(x, volume, depth_m, lenses, motion, proves)
    assert not torch.allclose(seen, sweep(x, -volume, depth_m, lenses, motion, proves))


@given(st.floats(-3, 40), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_the_target_chances_have_the_truth_as_their_mean(speed_mps, yaw_rate):
    rate = torch.tensor([[[speed_mps, 0, 0, 0, 0, yaw_rate]]])
    shares = share_out(rate)[0, 0]
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    mean = shares @ hypotheses(SPEEDS_MPS, YAW_RATES, rate)
    inside = torch.stack(
        [
            rate[0, 0, 0].clamp(SPEEDS_MPS[0], SPEEDS_MPS[-1]),
            rate[0, 0, 5].clamp(YAW_RATES[0], YAW_RATES[-1]),
        ]
    )
    torch.testing.assert_close(mean, inside, atol=1e-4, rtol=1e-4)
