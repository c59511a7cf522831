"""VGGT against its official code: every stage, every function and the full-size names."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest

from driv3r.errors import ConfigError
from driv3r.geometry.transforms import invert
from driv3r.models.key_maps.vggt import VGGT
from driv3r.models.layers.dpt import embed_uv
from driv3r.models.layers.point_heads import expand_points
from driv3r.models.layers.rope import apply_rope, make_rope
from driv3r.models.official_checkpoints import check_official
from driv3r.models.published.vggt import CHUNK, DENSE, FEATURES, Vggt, VggtConfig, expand_axes
from driv3r.models.published.vggt_camera_head import (
    decode_cameras,
    encode_cameras,
    find_quaternion,
    lift_views,
    turn_by,
)
from driv3r.models.published.vggt_point_tracker import TrackerConfig
from driv3r.models.published.vggt_preprocess import fit_longest, fit_square, fit_width
from driv3r.models.registry import MODELS

WIDTHS = (8, 12, 16, 24)
TINY = VggtConfig(
    width=32,
    depth=5,
    heads=4,
    encoder_depth=2,
    encoder_heads=4,
    grid=4,
    hooks=(1, 2, 3, 4),
    camera_depth=2,
    camera_heads=4,
    dense=replace(DENSE, widths=WIDTHS, features=16),
    features=replace(FEATURES, widths=WIDTHS, features=16),
    tracker=TrackerConfig(levels=3, radius=2, steps=3, width=32, depth=2),
)
CASES = ("a", "b")
ROUNDING = {"track_all_iters": 1e-4, "track": 1e-4, "vis": 2e-3, "conf": 2e-3}


@pytest.fixture(scope="module")
def network(golden):
    return load_official(Vggt(TINY), VGGT, golden("vggt/tiny.safetensors"))


@pytest.fixture(scope="module")
def arrays(golden):
    return read_arrays(golden("vggt/io.npz"))


@pytest.fixture(scope="module")
def functions(golden):
    return read_arrays(golden("vggt/functions.npz"))


@pytest.fixture(params=CASES)
def official(request, arrays):
    """One case; "a" has a grid that places are resized to, "b" the one that they were made for."""
    prefix = f"{request.param}."
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def size_of(official) -> tuple[int, int]:
    return tuple(official["images"].shape[-2:])


def test_the_encoder_is_the_official_one(network, official):
    seen = []
    hook = network.encoder.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network.see(official["images"])
    hook.remove()
    summary, registers, patches = seen[0].tensor_split([1, network.encoder.specials], dim=1)
    assert_matches(summary[:, 0], official["dino_cls"])
    assert_matches(registers, official["dino_reg"])
    assert_matches(patches, official["dino_patch"])


def test_every_layer_of_the_aggregator_is_the_official_one(network, official):
    rows, columns = size_of(official)
    patches = official["dino_patch"].unflatten(0, official["images"].shape[:2])
    layers = list(network.aggregator.iterate_layers(patches, (rows // 14, columns // 14)))
    for i, layer in enumerate(layers):
        assert_matches(layer, official[f"agg_tokens_{i}"])
    for kept, i in zip(network.see(official["images"]), TINY.hooks, strict=True):
        assert_matches(kept, official[f"agg_tokens_{i}"])


def test_cameras_are_the_official_ones_after_each_step(network, official):
    answer = network(official["images"])
    assert_matches(answer.codes, official["pose_enc_all_iters"])
    assert_matches(answer.codes[-1], official["pose_enc"])
    cam_T_ref, K = answer.cameras()
    assert_matches(cam_T_ref[..., :3, :], official["extrinsic"])
    assert_matches(K, official["intrinsic"])


def test_depth_and_points_are_the_official_ones(network, official):
    inner = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: inner.append(out))
        for layer in (network.depth.fuse[3], network.depth.smooth)
    ]
    answer = network(official["images"])
    for hook in hooks:
        hook.remove()
    assert_matches(inner[0], official["depth_refinenet4"])
    assert_matches(inner[1], official["depth_output_conv1"])
    assert_matches(answer.depth[..., None], official["depth"])
    assert_matches(answer.depth_confidence, official["depth_conf"])
    assert_matches(answer.points_ref, official["world_points"])
    assert_matches(answer.points_confidence, official["world_points_conf"])
    assert_matches(answer.lift_depth(), official["points_from_depth"])


def test_tracks_are_the_official_ones_after_each_step(network, official):
    maps, agreement = [], []
    tracker = network.tracks.tracker
    hooks = [
        tracker.register_forward_pre_hook(lambda _m, args: maps.append(args[0])),
        tracker.compare.register_forward_pre_hook(lambda _m, args: agreement.append(args[0])),
    ]
    tracks = network(official["images"], official["query_points"]).tracks
    for hook in hooks:
        hook.remove()
    assert_matches(maps[0], official["track_features"])
    assert_matches(agreement[0], official["track_corr_iter0"])
    assert_matches(tracks.steps_px[:2], official["track_all_iters"][:2])
    # Waves of up to 1000 radians a pixel enlarge what float32 rounds off, step by step; the
    # official answer is as far from the exact one.
    exact = copy.deepcopy(tracker).double()(maps[0].double(), official["query_points"].double())
    for ours, ideal, name in (
        (tracks.steps_px, exact.steps_px, "track_all_iters"),
        (tracks.points_px, exact.points_px, "track"),
        (tracks.visibility, exact.visibility, "vis"),
        (tracks.confidence, exact.confidence, "conf"),
    ):
        rounding = measure_error(ideal, official[name])
        assert rounding <= ROUNDING[name]
        assert measure_error(ours, official[name]) <= 3 * rounding


def measure_error(ours: torch.Tensor, official: torch.Tensor) -> float:
    return ((ours - official).abs().max() / official.abs().max()).item()


def test_quaternions_are_the_official_ones(functions):
    turns = turn_by(functions["quat_in"])
    assert_matches(turns, functions["quat_to_mat"])
    assert_matches(find_quaternion(turns), functions["mat_to_quat_of_quat_to_mat"])
    for name in ("special_R", "nonorth_mat"):
        assert_matches(find_quaternion(functions[name]), functions[f"{name}_to_quat"])


def test_codes_of_cameras_are_the_official_ones(functions):
    size_hw = tuple(functions["pose_enc_hw"].tolist())
    cam_T_ref, K = decode_cameras(functions["pose_enc_in"], size_hw)
    assert_matches(cam_T_ref[..., :3, :], functions["pose_enc_extrinsic"])
    assert_matches(K, functions["pose_enc_intrinsic"])
    code = encode_cameras(close(functions["enc_extrinsics"]), functions["enc_intrinsics"], size_hw)
    assert_matches(code, functions["enc_pose_enc"])


def close(top: torch.Tensor) -> torch.Tensor:
    """A transform from its upper three rows."""
    last = torch.tensor([0.0, 0, 0, 1], dtype=top.dtype).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, last], dim=-2)


def test_lifted_depth_is_the_official_one(functions):
    cam_T_ref = close(functions["unproj_extrinsic"])
    depth, K = functions["unproj_depth"][..., 0], functions["unproj_intrinsic"]
    assert_matches(lift_views(depth, K, cam_T_ref), functions["unproj_points"])
    assert_matches(lift_views(depth[0], K[0], torch.eye(4)), functions["d2w_cam"])
    assert_matches(lift_views(depth[0], K[0], cam_T_ref[0]), functions["d2w_world"])
    ref_T_cam = torch.from_numpy(invert(cam_T_ref.double().numpy()))
    assert_matches(ref_T_cam, functions["inverse_se3"])


def test_activations_are_the_official_ones(functions):
    raw = functions["act_in"]
    assert_matches(expand_axes(raw[:, :3].movedim(1, -1)), functions["act_inv_log"])
    assert_matches(expand_points(raw[:, :3]), functions["act_norm_exp"])


def test_embedded_places_are_the_official_ones(functions):
    embedded = embed_uv(16, (4, 6), (4, 6), torch.device("cpu"))
    grid = functions["uv_grid_w6_h4_asp1.5"]
    assert_matches(embedded[[0, 8]].movedim(0, -1), grid.sin())
    assert_matches(embedded.movedim(0, -1), functions["pos_grid_embed_16"])
    tokens = functions["rope_tokens"]
    rope = make_rope(functions["rope_pos"], tokens.shape[-1])
    assert_matches(apply_rope(tokens, rope), functions["rope_out"])


def read_loaded(golden) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    loaded = read_arrays(golden("vggt/preprocess.npz"))
    return loaded, {k[4:]: v.numpy() for k, v in loaded.items() if k.startswith("img_")}


@pytest.mark.parametrize("name", ["wide", "tall", "odd", "rgba"])
def test_an_image_is_loaded_as_officially(name, golden):
    loaded, images = read_loaded(golden)
    assert torch.equal(fit_width([images[name]], 56), loaded[f"crop_{name}"])
    assert torch.equal(fit_longest([images[name]], 56), loaded[f"pad_{name}"])


def test_images_of_several_sizes_are_loaded_as_officially(golden):
    loaded, images = read_loaded(golden)
    mixed = fit_width([images[name] for name in ("wide", "tall", "odd")], 56)
    assert torch.equal(mixed, loaded["crop_mixed_wide_tall_odd"])
    squares, places = fit_square([images["wide"], images["tall"]], 56)
    assert torch.equal(squares, loaded["square"])
    assert_matches(places, loaded["square_coords"])


def test_dense_heads_answer_the_same_in_chunks_and_in_float32_under_autocast(network):
    torch.manual_seed(0)
    layers = network.see(torch.rand(1, CHUNK + 3, 3, 28, 42))
    depth, confidence = network.predict_depth(layers, (28, 42))
    for view in (0, CHUNK, CHUNK + 2):
        alone, sure = network.predict_depth([layer[:, [view]] for layer in layers], (28, 42))
        assert_matches(depth[:, [view]], alone)
        assert_matches(confidence[:, [view]], sure)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = network.predict_depth(layers, (28, 42))
        codes = network.predict_cameras(layers)
        rough = network(torch.rand(1, 2, 3, 28, 42), torch.rand(1, 3, 2) * 28)
    assert torch.equal(inside, depth)
    assert torch.equal(codes, network.predict_cameras(layers))
    for answer in (rough.codes, rough.depth, rough.points_ref, rough.tracks.points_px):
        assert answer.dtype == torch.float32
        assert answer.isfinite().all()


def test_images_that_patches_do_not_cover_are_refused(network):
    with pytest.raises(ConfigError, match="multiples of 14"):
        network(torch.zeros(1, 2, 3, 56, 60))
    with pytest.raises(ConfigError, match="the last one 4"):
        Vggt(replace(TINY, hooks=(0, 1, 2, 3)))


def test_the_full_size_checkpoint_fits(golden):
    official = read_manifest(golden("vggt/manifest.json"))
    entry = MODELS["vggt"]
    count = check_official(entry, official, "vggt")
    mask_token = entry.config.width  # DINOv2's, which nothing reads
    assert count == sum(tensor.numel() for tensor in official.values()) - mask_token
