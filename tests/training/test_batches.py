"""Batches that are made on the device, held against the CPU geometry and closed forms."""

import dataclasses

import numpy as np
import pytest
import torch

from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import apply, from_rotvec
from driv3r.models.driv3r.inputs import encode_rays
from driv3r.models.driv3r.losses import measure_height
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, Clip, ClipConfig, render_clip
from driv3r.training.augmentation import (
    DeviceRandom,
    crop_and_resize,
    draw_crops,
    drop_calibration,
    jitter_calibration,
    rotate_by,
    vary_appearance,
)
from driv3r.training.batches import (
    Draw,
    assemble,
    crop_views,
    draw_batch,
    gather,
    make_inputs,
    make_targets,
    scale_world,
    whole_batch,
)
from driv3r.training.clip_pool import ClipPool, blank_clip, ego_rates, put_on_device
from driv3r.training.config import AugmentationConfig, CorruptionConfig, DataConfig
from driv3r.training.corruption import convolve_randomly, draw_depth_error
from driv3r.types import Camera

CPU = torch.device("cpu")
SIZE_HW = (32, 48)
DATA = DataConfig(ClipConfig(SIZE_HW, frames=3), shapes=((2, 2),), half_size_shapes=((2, 3),))
STILL = AugmentationConfig((1.0, 1.0), (1.0, 1.0), 0.0, 0.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return render_clip(FIRST_TRAIN_SEED, DATA.clips)


@pytest.fixture(scope="module")
def pool(clip) -> ClipPool:
    pool = ClipPool(1.0)
    pool.add(put_on_device(clip, CPU))
    pool.add(blank_clip(3, 4, SIZE_HW, CPU))
    return pool


def test_a_whole_batch_is_the_clip(clip):
    inputs, targets = whole_batch(put_on_device(clip, CPU), 3)
    np.testing.assert_allclose(inputs.images[0], np.moveaxis(clip.images, -1, -3) / 255, atol=1e-6)
    np.testing.assert_allclose(targets.depth_m[0], clip.depth_m, rtol=1e-3)  # float16
    np.testing.assert_array_equal(targets.moving[0], clip.moving)
    np.testing.assert_allclose(inputs.dt_s[0], np.diff(clip.time_us, prepend=0) * 1e-6 * [0, 1, 1])
    for rays, camera in zip(inputs.rays[0], clip.cameras, strict=True):
        np.testing.assert_allclose(rays, encode_rays(camera), atol=1e-5)
    for v, camera in enumerate(clip.cameras):
        points_ego = apply(camera.ego_T_cam, rays_of(camera) * clip.depth_m[1, v][..., None])
        sure = (clip.depth_m[1, v] > 0) & (clip.depth_m[1, v] < 50)
        got = targets.height_m[0, 1, v].numpy()[sure]
        np.testing.assert_allclose(got, points_ego[..., 2][sure], atol=0.03)


def test_a_mirrored_batch_is_the_mirror_image(clip):
    raw = put_on_device(clip, CPU)
    views = tuple(range(raw.views))
    (plain, truth), (mirrored, other) = (
        assemble([raw], [Draw(0, 2, views, mirrored=m)]) for m in (False, True)
    )
    torch.testing.assert_close(mirrored.images, plain.images.flip(-1))
    torch.testing.assert_close(other.depth_m, truth.depth_m.flip(-1))
    torch.testing.assert_close(other.height_m, truth.height_m.flip(-1), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(mirrored.rays[:, :, 1], -plain.rays[:, :, 1].flip(-1))
    signs = torch.tensor([1.0, -1, 1, -1, 1, -1])
    torch.testing.assert_close(other.ego_rate, truth.ego_rate * signs)


def test_half_size_images_have_half_size_cameras(clip):
    raw = put_on_device(clip, CPU)
    views = tuple(range(raw.views))
    inputs, targets = assemble([raw], [Draw(0, 2, views, half_size=True)])
    h, w = (n // 2 for n in SIZE_HW)
    assert inputs.images.shape[-2:] == targets.depth_m.shape[-2:] == (h, w)
    for rays, K, camera in zip(inputs.rays[0], inputs.K[0], clip.cameras, strict=True):
        half = np.diag([0.5, 0.5, 1.0]) @ camera.K
        np.testing.assert_allclose(K, half, rtol=1e-6)
        np.testing.assert_allclose(
            rays, encode_rays(Camera("", half, (h, w), camera.ego_T_cam)), atol=1e-5
        )


def test_batches_are_a_function_of_seed_step_process_and_pool(pool):
    a, b = (draw_batch(pool, 5, DATA) for _ in range(2))
    for first, second in zip(a, b, strict=True):
        for field in dataclasses.fields(first):
            torch.testing.assert_close(getattr(first, field.name), getattr(second, field.name))
    others = (
        draw_batch(pool, 6, DATA),
        draw_batch(pool, 5, DATA, rank=1),
        draw_batch(pool, 5, dataclasses.replace(DATA, seed=1)),
    )
    assert not any(torch.equal(a[0].images, other[0].images) for other in others)
    assert draw_batch(pool, 5, DATA, half_size=True)[0].images.shape[-2:] == (16, 24)


def test_a_zoomed_view_is_that_of_a_camera_with_a_longer_lens(clip):
    """Depth of a zoomed batch gives the heights that were seen there, by its own cameras."""
    raw = put_on_device(clip, CPU)
    parts = gather([raw], [Draw(0, 2, tuple(range(raw.views)))])
    inputs, targets = whole_batch(raw, 2)
    changed = crop_views(parts, 2.0, DeviceRandom(3, CPU))
    zoomed, truth = make_inputs(changed), make_targets(changed)
    assert (zoomed.K[..., 0, 0] >= inputs.K[..., 0, 0]).all()
    assert (zoomed.K[..., 0, 0] > 1.3 * inputs.K[..., 0, 0]).any()
    crops = draw_crops(1, raw.views, 2.0, DeviceRandom(3, CPU))  # the same ones
    seen_m = crop_and_resize(targets.height_m[:, :, :, None], *crops, "nearest")[:, :, :, 0]
    again = measure_height(truth.depth_m, zoomed.K, zoomed.ego_T_cam)
    sure = (truth.depth_m > 0) & (truth.depth_m < 30)
    step_m = truth.depth_m / zoomed.K[..., 0, 0][:, None, :, None, None]  # nearest: half a pixel
    assert ((again - seen_m).abs() <= step_m + 0.02)[sure].all()
    share, middle = draw_crops(50, 6, 2.0, DeviceRandom(0, CPU))
    assert ((share >= 0.5) & (share <= 1)).all()
    assert (middle.abs() + share[..., None] <= 1 + 1e-6).all()


def test_missing_cameras_fill_up_a_batch_and_teach_nothing(pool):
    data = dataclasses.replace(DATA, views=7, camera_drop=0.0)
    for step in range(4):
        inputs, targets = draw_batch(pool, step, data)
        assert inputs.images.shape[:3] == (2, 2, 7)
        absent = ~inputs.present
        assert absent[..., -1].all()
        assert not inputs.calibrated[:, -1].any()
        assert not targets.valid[absent].any()
        assert not targets.motion_valid[absent].any()


def test_without_augmentation_nothing_changes_and_with_it_images_stay_images():
    images = torch.rand(2, 2, 3, 3, *SIZE_HW) * 0.98 + 0.01
    same = vary_appearance(images, STILL, DeviceRandom(0, CPU))
    torch.testing.assert_close(same, images, atol=1e-5, rtol=1e-4)
    varied = vary_appearance(images, AugmentationConfig(), DeviceRandom(0, CPU))
    assert ((varied >= 0) & (varied <= 1)).all()
    assert (varied - images).abs().mean() > 0.02


def test_calibration_is_off_by_what_the_recipe_says():
    K = torch.tensor([[40.0, 0, 24], [0, 40, 16], [0, 0, 1]]).repeat(60, 6, 1, 1)
    ego_T_cam = torch.eye(4).repeat(60, 6, 1, 1)
    ego_T_cam[..., :3, 3] = 1.5
    wrong_K, wrong = jitter_calibration(K, ego_T_cam, (0.5, 2.0), DeviceRandom(0, CPU))
    rotation = wrong[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation))
    turns_deg = torch.rad2deg(torch.stack([rotation[..., 2, 1], rotation[..., 0, 2]]))
    assert float(turns_deg.std()) == pytest.approx(0.5, rel=0.15)
    zooms = (wrong_K[..., 0, 0] / 40).log()
    assert float(zooms.std()) == pytest.approx(0.02, rel=0.15)
    torch.testing.assert_close(wrong[..., :3, 3], ego_T_cam[..., :3, 3])
    assert jitter_calibration(K, ego_T_cam, (0.0, 0.0), DeviceRandom(0, CPU)) == (K, ego_T_cam)


def test_calibration_is_hidden_as_often_as_the_recipe_says():
    known = drop_calibration(2000, 6, 0.3, DeviceRandom(0, CPU))
    assert 0.27 < float((~known.any(-1)).float().mean()) < 0.33
    assert 0.48 < float((~known).float().mean()) < 0.54  # 1 - 0.7 * 0.7
    assert drop_calibration(20, 6, 0.0, DeviceRandom(0, CPU)).all()


def test_the_pool_keeps_to_its_budget_and_the_newest():
    clip = blank_clip(2, 3, SIZE_HW, CPU)
    pool = ClipPool(2.5 * clip.bytes / 2**30)
    clips = [blank_clip(2, 3, SIZE_HW, CPU) for _ in range(4)]
    for one in clips:
        pool.add(one)
    assert pool.clips == clips[2:]
    assert pool.bytes == 2 * clip.bytes
    assert pool.added == 4
    tiny = ClipPool(0.0)
    tiny.add(clip)
    assert tiny.draw(3, np.random.default_rng(0)) == [clip] * 3


def test_rates_of_a_steady_turn():
    step = from_rotvec(np.array([0, 0, 0.1]), np.array([2.0, 0, 0]))
    poses = np.stack([np.eye(4), step, step @ step])
    rates = ego_rates(poses, np.array([0, 500_000, 1_000_000]))
    np.testing.assert_allclose(rates[0], 0)
    np.testing.assert_allclose(rates[1:], [[4, 0, 0, 0, 0, 0.2]] * 2, atol=1e-12)


def test_a_scaled_world_shows_the_same_pixels_at_scaled_depth_and_speed(clip):
    parts = gather([put_on_device(clip, CPU)] * 8, [Draw(0, 3, (0, 1))] * 8)
    scaled = scale_world(parts, 1.5, DeviceRandom(3, CPU))
    factor = scaled["depth_m"].flatten(1).sum(1) / parts["depth_m"].flatten(1).sum(1)
    assert (factor == 1).any()
    assert ((factor - 1).abs() > 0.05).any()
    assert (factor.log().abs() <= np.log(1.5) + 1e-4).all()
    wide = factor[:, None, None]
    torch.testing.assert_close(scaled["ego_rate"][..., :3], parts["ego_rate"][..., :3] * wide)
    torch.testing.assert_close(scaled["ego_rate"][..., 3:], parts["ego_rate"][..., 3:])
    # What a pixel shows is as high over the road in the scale of the rig.
    before, after = make_targets(parts).height_m, make_targets(scaled).height_m
    torch.testing.assert_close(after, before * wide[..., None, None], atol=1e-3, rtol=1e-3)
    ground = (make_inputs(scaled).rays - make_inputs(parts).rays)[:, :, :3].abs().max()
    assert ground < 1e-5  # rays go the same ways


def test_random_convolutions_keep_the_spread_of_colours_and_where_edges_are(clip):
    images = put_on_device(clip, CPU).images.float() / 255
    spoilt = [convolve_randomly(images, DeviceRandom(seed, CPU)) for seed in range(4)]
    for each in spoilt:
        assert each.shape == images.shape
        torch.testing.assert_close(each, each.clamp(0, 1), atol=0, rtol=0)
        assert (each - images).abs().mean() > 1e-3
    flat = torch.full_like(images, 0.4)
    torch.testing.assert_close(
        convolve_randomly(flat, DeviceRandom(0, CPU)), flat, atol=1e-2, rtol=0
    )


def test_depth_errors_are_the_same_in_all_frames_and_small_on_the_road(pool):
    clip = pool.clips[0]
    targets = make_targets(gather([clip] * 30, [Draw(0, 3, (0, 1))] * 30))
    config = CorruptionConfig(prior_share=0.5, prior_log_sigma=(0.2, 0.3), road_factor=0.1)
    error = draw_depth_error(targets, config, DeviceRandom(0, CPU))
    assert error.shape == (30, 3, 2, 4, 6)
    spoilt = error.flatten(3).any(-1)
    assert 0.3 < spoilt.float().mean() < 0.7
    assert (spoilt[:, :1] == spoilt).all()
    road = targets.height_m[..., 4::8, 4::8].abs() < 0.3
    assert error[road].std() < 0.2 * error[~road].std()
    whole = dataclasses.replace(config, road_factor=1.0)
    plain = draw_depth_error(targets, whole, DeviceRandom(0, CPU))
    torch.testing.assert_close(plain[:, :1].expand_as(plain), plain)
    assert 0.2 < plain[spoilt].std() < 0.5


def test_small_turns_are_rotations_about_their_axes():
    turns = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.0, 0.0], [1e-4, 0, 0]])
    expected = np.stack([from_rotvec(t, np.zeros(3))[:3, :3] for t in turns.double().numpy()])
    np.testing.assert_allclose(rotate_by(turns), expected, atol=1e-6)
