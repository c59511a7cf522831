import dataclasses

import numpy as np
import pytest
import torch

from driv3r.errors import CheckpointError, ConfigError
from driv3r.evaluation.baselines import PositionalPrior, PriorFitter
from driv3r.geometry.ground_plane import predict_ground_plane
from driv3r.geometry.transforms import make_transform
from driv3r.models.checkpoints import load_weights, save_weights
from driv3r.models.driv3r.cost_volume import NUM_DEPTHS
from driv3r.models.driv3r.ego_motion_sweep import SPEEDS_MPS, YAW_RATES
from driv3r.models.driv3r.inputs import Corruption, Inputs, encode_ray_maps, encode_rays
from driv3r.models.driv3r.losses import LossWeights, Targets, compute_losses
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.models.driv3r.streaming import Streamer, StreamFrame, choose_device
from driv3r.models.layers.blocks import Residual
from driv3r.types import Camera, Rig

SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=2, memory=2, channels=(8, 16, 16))


def make_rig(size_hw=(32, 48), height_m=1.5, count=2) -> Rig:
    forward = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    back = np.diag([-1.0, -1, 1]) @ forward
    K = np.array([[40.0, 0, size_hw[1] / 2], [0, 40, size_hw[0] / 2], [0, 0, 1]])
    place = np.array([1.0, 0, height_m])
    cameras = [
        Camera(name, K, size_hw, make_transform(turn, place))
        for name, turn in (("front", forward), ("back", back))
    ]
    return Rig(tuple(cameras[:count]))


def stack(matrices) -> torch.Tensor:
    return torch.from_numpy(np.stack(matrices)[None]).float()


def make_inputs(t=5, b=1, seed=0) -> Inputs:
    torch.manual_seed(seed)
    rays = torch.from_numpy(np.stack([encode_rays(c) for c in make_rig().cameras]))
    return Inputs(
        torch.rand(b, t, 2, 3, 32, 48),
        torch.ones(b, t, 2, dtype=torch.bool),
        rays[None].expand(b, -1, -1, -1, -1),
        stack([camera.K for camera in make_rig().cameras]).expand(b, -1, -1, -1),
        stack([camera.ego_T_cam for camera in make_rig().cameras]).expand(b, -1, -1, -1),
        torch.full((b, t), 0.5),
        torch.ones(b, 2, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def model() -> Driv3r:
    torch.manual_seed(0)
    return Driv3r(SMALL).eval()


def make_targets(depth_m, moving, has_last) -> Targets:
    """Everything is known; all is a metre over the ground."""
    known = torch.ones_like(moving)
    rate, height_m = torch.randn(*depth_m.shape[:2], 6), torch.ones_like(depth_m)
    return Targets(depth_m, known, height_m, moving, known, rate, torch.tensor(has_last))


def part(inputs: Inputs, run: slice) -> Inputs:
    return dataclasses.replace(
        inputs,
        images=inputs.images[:, run],
        present=inputs.present[:, run],
        dt_s=inputs.dt_s[:, run],
    )


def test_a_clip_at_once_and_a_frame_at_a_time_agree(model):
    inputs = make_inputs()
    with torch.no_grad():
        whole, _ = model(inputs)
        state = None
        for t in range(5):
            one, state = model(part(inputs, slice(t, t + 1)), state)
            for field in dataclasses.fields(whole):
                streamed = getattr(one, field.name)[:, 0]
                torch.testing.assert_close(
                    streamed, getattr(whole, field.name)[:, t], atol=1e-4, rtol=1e-4
                )


def test_the_future_and_what_left_the_memory_do_not_matter(model):
    inputs = make_inputs(t=6)
    changed = inputs.images.clone()
    changed[:, 4:] = 0.1
    with torch.no_grad():
        before, _ = model(inputs)
        after, _ = model(dataclasses.replace(inputs, images=changed))
    torch.testing.assert_close(before.log_depth[:, :4], after.log_depth[:, :4])
    assert not torch.allclose(before.log_depth[:, 4], after.log_depth[:, 4])


def test_the_memory_is_bounded(model):
    state = None
    with torch.no_grad():
        for t in range(5):
            _, state = model(part(make_inputs(), slice(t, t + 1)), state)
            assert [m.shape[1] for m in state.memory] == [min(t + 1, 2)] * 2


def test_order_of_cameras_is_free(model):
    inputs = make_inputs(t=2)
    swapped = Inputs(
        inputs.images.flip(2),
        inputs.present.flip(2),
        inputs.rays.flip(1),
        inputs.K.flip(1),
        inputs.ego_T_cam.flip(1),
        inputs.dt_s,
        inputs.calibrated.flip(1),
    )
    with torch.no_grad():
        a, _ = model(inputs)
        b, _ = model(swapped)
    torch.testing.assert_close(a.log_depth, b.log_depth.flip(2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a.ego_rate, b.ego_rate, atol=1e-4, rtol=1e-4)


def test_a_missing_camera_has_no_depth_and_its_pixels_do_not_leak(model):
    frame = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    streamer = Streamer(model, make_rig(), precision="fp32")
    prediction = streamer.step(StreamFrame([frame, None], 0.0))
    assert np.isfinite(prediction.depth_m[0]).all()
    assert np.isnan(prediction.depth_m[1]).all()
    assert prediction.prev_T_curr is None
    inputs = make_inputs(t=1)
    hidden = dataclasses.replace(inputs, present=torch.tensor([[[True, False]]]))
    other = dataclasses.replace(hidden, images=hidden.images.clone())
    other.images[:, :, 1] = 0.0
    with torch.no_grad():
        torch.testing.assert_close(model(hidden)[0].log_depth, model(other)[0].log_depth)


def test_without_calibration_what_was_not_told_does_not_matter(model):
    inputs = make_inputs(t=3)
    untold = dataclasses.replace(inputs, calibrated=torch.tensor([[True, False]]))
    other = make_rig(height_m=2.5).cameras[0]
    moved = dataclasses.replace(
        untold, rays=inputs.rays.clone(), K=inputs.K.clone(), ego_T_cam=inputs.ego_T_cam.clone()
    )
    moved.rays[:, 1] = torch.from_numpy(encode_rays(other))
    moved.K[:, 1, 0, 0] *= 2
    moved.ego_T_cam[:, 1] = torch.from_numpy(other.ego_T_cam)
    with torch.no_grad():
        told, hidden, elsewhere = (model(x)[0] for x in (inputs, untold, moved))
    for field in dataclasses.fields(hidden):
        a, b = getattr(hidden, field.name), getattr(elsewhere, field.name)
        torch.testing.assert_close(a, b)
    assert not torch.allclose(told.log_depth, hidden.log_depth)


def test_parts_that_are_switched_off_are_not_felt(model):
    """Each switch takes away what its name says, and no parameter: a causal test of each."""
    inputs, state = make_inputs(t=3), model.state_dict()
    elsewhere = dataclasses.replace(inputs, images=inputs.images.clone())
    elsewhere.images[:, :, 1] = 0.3
    blind = Driv3r(dataclasses.replace(SMALL, rig=False)).eval()
    blind.load_state_dict(state)
    loose = Driv3r(dataclasses.replace(SMALL, matching=False)).eval()
    loose.load_state_dict(state)
    lost = Driv3r(dataclasses.replace(SMALL, rays=False, matching=False)).eval()
    lost.load_state_dict(state)
    zoomed = dataclasses.replace(inputs, K=inputs.K * 1.3)
    turned = dataclasses.replace(zoomed, rays=inputs.rays.flip(1))
    with torch.no_grad():
        # The ego sweep still joins all views, and through it alone the depth of one is moved.
        first = dataclasses.replace(inputs, dt_s=torch.zeros(1, 3))
        second = dataclasses.replace(elsewhere, dt_s=torch.zeros(1, 3))
        a, b = blind(first)[0].log_depth, blind(second)[0].log_depth
        torch.testing.assert_close(a[:, :, 0], b[:, :, 0])
        assert not torch.allclose(model(first)[0].log_depth[:, :, 0], b[:, :, 0])
        torch.testing.assert_close(loose(inputs)[0].log_depth, loose(zoomed)[0].log_depth)
        torch.testing.assert_close(lost(inputs)[0].log_depth, lost(turned)[0].log_depth)
        assert not torch.allclose(loose(inputs)[0].log_depth, loose(turned)[0].log_depth)
        plain = Driv3r(dataclasses.replace(SMALL, pretrained=False)).eval()
        plain.load_state_dict(state)
        other = Driv3r(dataclasses.replace(SMALL, pretrained=False)).eval()
        other.load_state_dict({k: -v if "fine" in k else v for k, v in state.items()})
        torch.testing.assert_close(plain(inputs)[0].log_depth, other(inputs)[0].log_depth)
        assert not torch.allclose(plain(inputs)[0].log_depth, model(inputs)[0].log_depth)


def test_without_memory_only_the_last_frame_tells(model):
    forgetful = Driv3r(dataclasses.replace(SMALL, memory=0)).eval()
    inputs = make_inputs(t=4)
    changed = dataclasses.replace(inputs, images=inputs.images.clone())
    changed.images[:, :2] = 0.1
    still = torch.zeros(1, 4)  # the ego sweep remembers rates; frames at once have none
    with torch.no_grad():
        a, _ = forgetful(dataclasses.replace(inputs, dt_s=still))
        b, state = forgetful(dataclasses.replace(changed, dt_s=still))
    torch.testing.assert_close(a.log_depth[:, 3], b.log_depth[:, 3])
    assert not torch.allclose(a.log_depth[:, 2], b.log_depth[:, 2])
    assert [m.shape[1] for m in state.memory] == [0, 0]


def test_stream_state_restores_exactly(model):
    rng = np.random.default_rng(1)
    frames = [
        StreamFrame([rng.integers(0, 255, (32, 48, 3)).astype(np.uint8)] * 2, 0.5 * (i > 0))
        for i in range(4)
    ]
    first = Streamer(model, make_rig())
    for frame in frames[:3]:
        first.step(frame)
    second = Streamer(model, make_rig())
    second.load_state(first.save_state())
    a, b = first.step(frames[3]), second.step(frames[3])
    np.testing.assert_array_equal(a.depth_m, b.depth_m)
    np.testing.assert_array_equal(a.prev_T_curr, b.prev_T_curr)


def test_ground_channel_is_the_inverse_depth_of_the_ground():
    rig = make_rig(height_m=1.5)
    channels = encode_rays(rig.cameras[0])
    row = 28  # pixel centre at 28.5, 12.5 below the principal point: 40 px focal length
    np.testing.assert_allclose(channels[3, row], 10 * 12.5 / 40 / 1.5, rtol=1e-5)
    assert (channels[3, :16] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(channels[:3], axis=0), 1.0, rtol=1e-5)


def test_the_ground_plane_baseline_is_exact_on_flat_ground():
    depth_m = predict_ground_plane(make_rig(height_m=1.5))
    np.testing.assert_allclose(depth_m[0, 28], 1.5 * 40 / 12.5)
    assert (depth_m[:, :15] == 80.0).all()


def test_the_positional_prior_is_optimal_in_abs_rel():
    rng = np.random.default_rng(0)
    depths = rng.choice([2.0, 5.0, 20.0, 60.0], (400, 1, 4, 4), p=[0.2, 0.3, 0.3, 0.2])
    fitter = PriorFitter(1, (4, 4))
    for depth_m in depths:
        fitter.add(depth_m)
    rig = make_rig((4, 4), count=1)
    prior = fitter.fit(np.array([[1.0, 0, 0]])).predict(rig)
    ours = np.mean(np.abs(prior - depths) / depths)
    for other in np.geomspace(1, 80, 60):
        assert ours <= np.mean(np.abs(other - depths) / depths) + 0.01


def test_the_prior_picks_the_camera_that_looks_that_way(tmp_path):
    depth_m = np.stack([np.full((4, 4), 7.0), np.full((4, 4), 9.0)]).astype(np.float32)
    axes = np.array([[-1.0, 0, 0], [1, 0, 0]], np.float32)
    PositionalPrior(depth_m, axes).save(tmp_path / "prior.safetensors")
    loaded = PositionalPrior.load(tmp_path / "prior.safetensors").predict(make_rig((4, 4)))
    assert loaded[:, 0, 0].tolist() == [9.0, 7.0]


def test_perfect_answers_cost_less_than_any_other():
    inputs = make_inputs(t=2)
    torch.manual_seed(3)
    depth_m = torch.rand(1, 2, 2, 32, 48) * 50 + 1
    targets = make_targets(depth_m, depth_m > 40, [[False, True]])

    def cost(shift):
        from driv3r.models.driv3r.inputs import Outputs

        outputs = Outputs(
            depth_m.log() + shift,
            torch.full_like(depth_m, -2.0),
            torch.where(targets.moving, 8.0, -8.0),
            targets.ego_rate,
            (depth_m.log() + shift)[..., 4::8, 4::8],
            torch.full_like(depth_m, -2.0)[..., 4::8, 4::8],
            *(torch.zeros(1, 2, 2, NUM_DEPTHS, 4, 6).log_softmax(3) for _ in range(2)),
            torch.ones(1, 2, 2, NUM_DEPTHS, 4, 6),
            torch.zeros(1, 2, len(SPEEDS_MPS) * len(YAW_RATES)).log_softmax(-1),
        )
        return float(compute_losses(outputs, targets, inputs.present, LossWeights())["total"])

    assert cost(0.0) < min(cost(0.1), cost(-0.1))


def test_what_is_not_known_costs_nothing(model):
    """Losses are the same whatever stands where depth, motion or ego motion are unknown."""
    inputs = make_inputs(t=2)
    torch.manual_seed(4)
    depth_m = torch.rand(1, 2, 2, 32, 48) * 30 + 1
    known, shown = torch.rand(2, 1, 2, 2, 32, 48) < 0.3
    targets = dataclasses.replace(
        make_targets(depth_m, depth_m > 20, [[False, True]]), valid=known, motion_valid=shown
    )
    other = dataclasses.replace(
        targets,
        depth_m=torch.where(known, depth_m, 77.0),
        height_m=torch.where(known, targets.height_m, -5.0),
        moving=torch.where(shown, targets.moving, ~targets.moving),
        ego_rate=targets.ego_rate * targets.has_last[..., None],
    )
    with torch.no_grad():
        outputs, _ = model(inputs)
        static = dataclasses.replace(targets, moving=torch.zeros_like(targets.moving))
        same = dataclasses.replace(other, moving=static.moving)
        for a, b in ((static, same),):
            first, second = (
                compute_losses(outputs, t, inputs.present, LossWeights()) for t in (a, b)
            )
            for name in first:
                torch.testing.assert_close(first[name], second[name], msg=name)
        motions = [
            compute_losses(outputs, t, inputs.present, LossWeights())["motion"]
            for t in (targets, other)
        ]
    torch.testing.assert_close(*motions)


def test_rays_on_the_device_are_those_of_the_cameras():
    cameras = make_rig(height_m=0.1).cameras  # lower than the least height
    K, ego_T_cam = (stack([getattr(c, name) for c in cameras]) for name in ("K", "ego_T_cam"))
    maps = encode_ray_maps(K, ego_T_cam, (32, 48))[0]
    for got, camera in zip(maps, cameras, strict=True):
        np.testing.assert_allclose(got, encode_rays(camera), atol=2e-6)


def test_a_residual_adds_nothing_before_training_and_then_looks_around():
    torch.manual_seed(0)
    block, x = Residual(8, dilation=4), torch.randn(1, 8, 16, 16)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    torch.nn.init.normal_(block.second.weight)
    block.first.norm = torch.nn.Identity()  # which joins all places
    x.requires_grad_()
    (block(x) - x)[0, :, 8, 8].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(0).nonzero() - 8
    assert reached.abs().max() == 5


def test_gradients_reach_every_parameter(model):
    torch.manual_seed(0)
    fresh = Driv3r(SMALL)
    for parameter in fresh.parameters():
        if not parameter.any():  # layers that start at zero let nothing through at first
            torch.nn.init.normal_(parameter, std=0.02)
    inputs = make_inputs(t=3)
    inputs = dataclasses.replace(
        inputs, present=torch.tensor([[[True, True], [True, False]] + [[True, True]]])
    )
    outputs, _ = fresh(inputs)
    depth_m = torch.rand(1, 3, 2, 32, 48) * 30 + 1
    targets = make_targets(depth_m, depth_m > 20, [[False, True, True]])
    compute_losses(outputs, targets, inputs.present, LossWeights())["total"].backward()
    silent = [n for n, p in fresh.named_parameters() if p.grad is None or not p.grad.abs().any()]
    # XFeat and EfficientNet stay
    frozen = [
        f"{m}.{n}" for m in ("semantic", "fine") for n, _ in getattr(fresh, m).named_parameters()
    ]
    assert silent == frozen


def test_weights_round_trip_and_refuse_what_does_not_fit(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, SMALL, model.state_dict(), {"steps": 3})
    again, card = load_weights(path)
    assert card == {"steps": 3}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
    tensors = dict(model.state_dict())
    tensors.pop("missing_token")
    save_weights(path, SMALL, tensors, {})
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_weights(path)
    path.write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_weights(path)
    with pytest.raises(CheckpointError, match="no weights at"):
        load_weights(tmp_path / "none.safetensors")


def test_an_unknown_device_and_a_bad_size_are_typed_errors():
    with pytest.raises(ConfigError, match="can not be used here"):
        choose_device("warp-drive")
    with pytest.raises(ConfigError, match="multiples"):
        Driv3r(dataclasses.replace(SMALL, size_hw=(30, 48)))


def test_no_tensor_of_the_losses_is_made_on_another_device(model):
    """A scalar of the CPU's in a loss of the GPU's is copied over in every step.

    With another default device, a tensor that does not name its own is made there, and says so.
    """
    inputs = make_inputs(t=2)
    with torch.no_grad():
        outputs, _ = model(inputs)
    depth_m = torch.rand(1, 2, 2, 32, 48) * 20 + 2
    targets = make_targets(depth_m, depth_m > 10, [[False, True]])
    expected = compute_losses(outputs, targets, inputs.present, LossWeights())
    with torch.device("meta"):
        found = compute_losses(outputs, targets, inputs.present, LossWeights())
    for name, loss in found.items():
        assert loss.device == inputs.images.device, name
        torch.testing.assert_close(loss, expected[name])


def test_spoilt_cues_reach_the_parts_that_they_are_meant_for():
    """The encoder sees other images, the sweep another prior, and without context no features."""
    model, inputs = Driv3r(SMALL).eval(), make_inputs(t=2)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    none = torch.zeros(1, 2, 2, 4, 6)
    kept = torch.ones(1, 2, dtype=torch.bool)

    def run(images=inputs.images, offset=none, context=kept):
        corruption = Corruption(images, offset, context)
        with torch.no_grad():
            return model(dataclasses.replace(inputs, corruption=corruption))[0]

    clean, plain = run(), model(inputs)[0]
    torch.testing.assert_close(clean.log_depth, plain.log_depth)
    assert not torch.equal(run(images=1 - inputs.images).coarse_log_depth, clean.coarse_log_depth)
    offset = run(offset=none + 0.5)
    torch.testing.assert_close(offset.coarse_log_depth, clean.coarse_log_depth)
    assert not torch.equal(offset.depth_log_prob, clean.depth_log_prob)
    alone = run(context=torch.tensor([[True, False]]))
    torch.testing.assert_close(alone.log_depth[:, :, 0], clean.log_depth[:, :, 0])
    assert not torch.equal(alone.depth_log_prob[:, :, 1], clean.depth_log_prob[:, :, 1])
