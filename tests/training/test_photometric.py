"""Self-supervision by images: the true depth looks right, and no other depth does."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, render_clip
from driv3r.training.adaptation.adapt import AdaptConfig, adapt
from driv3r.training.adaptation.photometric import (
    photometric_error,
    reprojection_error,
    smoothness,
    validate_photometric,
)
from driv3r.training.batches import Draw, Parts, gather
from driv3r.training.clip_pool import RawClip, put_on_device

CPU = torch.device("cpu")
SIZE_HW = (64, 112)
SMALL = Driv3rConfig(size_hw=SIZE_HW, width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))


@pytest.fixture(scope="module")
def clips() -> list[RawClip]:
    recipe = ClipConfig(SIZE_HW, frames=3, steps_s=(0.1,))
    return [put_on_device(render_clip(FIRST_TRAIN_SEED + i, recipe), CPU) for i in (11, 12, 13)]


def take(clip: RawClip) -> Parts:
    return gather([clip], [Draw(0, clip.frames, tuple(range(clip.views)))])


def test_the_true_depth_of_a_generated_clip_has_less_error_than_one_that_is_too_near_or_far(clips):
    for clip in clips:
        parts = take(clip)
        true = torch.where(parts["depth_m"] > 0, parts["depth_m"], 150.0)
        least, unmoved, seen = reprojection_error(parts, true)
        counts = seen & (least < unmoved)
        assert 0.1 < counts.float().mean() < 1
        error = {}
        for factor in (0.75, 1.0, 1.35):
            each, *_ = reprojection_error(parts, factor * true)
            error[factor] = each.clamp(max=1)[counts].mean()
        assert error[1.0] < 0.9 * min(error[0.75], error[1.35])


def test_a_textured_wall_before_a_moving_camera_is_found_at_its_distance_by_gradient_alone():
    """A wall at 6 m, seen before and after 0.4 m to the left; the start is 20 % too far."""
    torch.manual_seed(0)
    h, w, focal, wall_m, step_m = 48, 96, 80.0, 6.0, 0.4
    texture = F.interpolate(torch.rand(1, 3, 16, 40), (h, w + 40), mode="bicubic").clamp(0, 1)
    shift = focal * step_m / wall_m  # pixels
    columns = torch.arange(w) + 20.0

    def look(offset: float) -> torch.Tensor:
        x = (columns + offset) / (w + 40 - 1) * 2 - 1
        y = torch.linspace(-1, 1, h)
        grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1)
        return F.grid_sample(texture, grid[None], align_corners=True)[0]

    ego_T_cam = torch.tensor(
        [[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]
    )  # looks ahead
    rate = torch.zeros(1, 2, 6)
    rate[0, 1, 1] = step_m  # to the left, within a second
    parts: Parts = {
        # The camera goes left, so that the wall goes right in its image.
        "images": torch.stack([look(0.0), look(-shift)])[None, :, None],
        "present": torch.ones(1, 2, 1, dtype=torch.bool),
        "calibrated": torch.ones(1, 1, dtype=torch.bool),
        "K": torch.tensor([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1]])[None, None],
        "ego_T_cam": ego_T_cam[None, None],
        "ego_rate": rate,
        "dt_s": torch.tensor([[0.0, 1.0]]),
    }
    log_depth = torch.tensor(1.2 * wall_m).log().requires_grad_()
    optimizer = torch.optim.Adam([log_depth], lr=0.01)
    for _ in range(60):
        error, _, seen = reprojection_error(parts, log_depth.exp().expand(1, 2, 1, h, w))
        loss = (error * seen).sum() / seen.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert log_depth.exp().item() == pytest.approx(wall_m, rel=0.01)


def test_equal_images_have_no_error_and_depth_that_steps_with_the_image_is_smooth():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 1, 3, 16, 24)
    torch.testing.assert_close(photometric_error(image, image), torch.zeros(1, 1, 1, 16, 24))
    assert photometric_error(image, image.flip(-1)).mean() > 0.1
    depth_m = torch.full((1, 1, 1, 16, 24), 5.0)
    assert smoothness(depth_m, image) == 0
    depth_m[..., 12:] = 10.0
    plain, edge = torch.zeros_like(image), torch.zeros_like(image)
    edge[..., 12:] = 1.0
    assert smoothness(depth_m, edge) < 0.5 * smoothness(depth_m, plain)


def test_adapting_by_images_needs_no_label_and_lowers_the_error_of_moments_it_did_not_see(clips):
    torch.manual_seed(0)
    network = Driv3r(SMALL).eval()
    blind = [
        dataclasses.replace(clip, labels=torch.zeros_like(clip.labels), depth_m=clip.depth_m * 0)
        for clip in clips
    ]
    config = AdaptConfig(minutes=0.15, learning_rate=5e-3, validations=3, supervision="images")
    adapted = adapt(network, blind[:1], blind[1:2], [], config)
    assert adapted.steps > 3
    before, after = (each["val_photometric"] for each in (adapted.before, adapted.after))
    assert after < before
    assert validate_photometric(adapted.network, blind[1:2], 2) == adapted.after
