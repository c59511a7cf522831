"""SLAM3R's two networks and the choice of scene frames against the official code."""

from collections.abc import Sequence

import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from driv3r.errors import ConfigError
from driv3r.models.checkpoints import check_fit
from driv3r.models.key_maps.multi_view import SLAM3R_I2P, SLAM3R_L2W
from driv3r.models.layers.multi_view_decoder import ReferenceSourceDecoder
from driv3r.models.layers.rope import grid_positions
from driv3r.models.published.slam3r import (
    ImagesToPoints,
    LocalToWorld,
    ReferenceSourceNet,
    Slam3rConfig,
    measure_points,
    normalise_views,
    select_scene_frames,
)

TINY = Slam3rConfig(width=32, depth=2, heads=2, cross_width=24, cross_depth=4, cross_heads=2)
SIZE_HW = (48, 64)
WORLD = [0, 2, 3]


@pytest.fixture(scope="module")
def official(golden):
    return read_arrays(golden("slam3r/io.npz"))


@pytest.fixture(scope="module")
def i2p(golden):
    return load_official(ImagesToPoints(TINY), SLAM3R_I2P, golden("slam3r/tiny_i2p.safetensors"))


@pytest.fixture(scope="module")
def l2w(golden):
    return load_official(LocalToWorld(TINY), SLAM3R_L2W, golden("slam3r/tiny_l2w.safetensors"))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def swap(x: Tensor) -> Tensor:
    """Views first, as the goldens are, to batch first, or back."""
    return x.transpose(0, 1)


def walk(network: ReferenceSourceNet, tokens: Tensor, references, extra=None) -> list[Tensor]:
    """All layers as the official decoder lists them: b v n c."""
    normed = network.norm(tokens)
    rope = network.rope(tokens, SIZE_HW)
    layers = [normed]
    layers += [
        x[:, 0] for x in network.aggregator.iterate_layers(normed, [references], rope, extra)
    ]
    layers[-1] = network.aggregator.norm(layers[-1])
    return layers


def assert_layers(layers: list[Tensor], official, name: str, references: Sequence[int]) -> None:
    sources = [v for v in range(layers[0].shape[1]) if v not in references]
    for i, layer in enumerate(layers):
        for role, views in (("ref", references), ("src", sources)):
            ours = swap(layer[:, list(views)]).flatten(0, 1)
            assert_matches(ours, official[f"{name}.dec_{role}_{i}"])


def assert_answer(answer, official, name: str) -> None:
    for view in range(answer.points.shape[1]):
        assert_matches(answer.points[:, view], official[f"{name}.view{view}.pts3d"])
        assert_matches(answer.confidence[:, view], official[f"{name}.view{view}.conf"])


def test_tokens_are_the_official_ones_before_and_after_the_norm(i2p, official):
    images = swap(official["i2p.imgs_view_major"])
    tokens = i2p.encode(images)
    assert_matches(tokens, swap(official["i2p.enc_feats_unnormalised"]))
    assert_matches(i2p.norm(tokens), swap(official["i2p.enc_feats_view_major"]))
    assert torch.equal(grid_positions((3, 4), 2), official["i2p.pos"])


def test_a_window_becomes_the_official_points(i2p, official):
    images, reference = swap(official["i2p.imgs_view_major"]), int(official["i2p.ref_id"])
    layers = walk(i2p, i2p.encode(images), [reference])
    assert_answer(i2p(images, reference), official, "i2p")
    for view in {0, 1, 2, 3, 4} - {reference}:
        judged = i2p.score(layers[2][:, view])
        assert_matches(judged, official[f"i2p.view{view}.pseudo_conf"])


def test_every_layer_of_a_window_of_two_is_the_official_one(i2p, official):
    # The golden's decoder lists are of its last run, that of two views.
    images = swap(official["i2p.imgs_view_major"])[:, :2]
    assert_layers(walk(i2p, i2p.encode(images), [0]), official, "i2p", [0])
    answer = i2p(images, 0)
    for view in range(2):
        assert_matches(answer.confidence[:, view], official[f"i2p_two.view{view}.conf"])


def test_correlation_scores_are_the_official_ones(i2p, official):
    tokens = i2p.encode(swap(official["i2p.imgs_view_major"]))
    assert_matches(swap(i2p.compare(tokens, 0, SIZE_HW)), official["i2p.corr_score_ref0"])
    shallow = i2p.compare(tokens, 0, SIZE_HW, depth=1)
    assert_matches(swap(shallow), official["i2p.corr_score_ref0_depth1"])


def test_each_target_of_a_block_takes_the_maximum_over_its_sources(i2p, official):
    targets, sources = official["block.xs"], official["block.ys"]
    heard = official["block.rel_ids"].unflatten(0, (len(targets), -1))
    rope = i2p.rope(swap(targets), SIZE_HW)
    for target, chosen, expected in zip(targets, heard, official["block.out"], strict=True):
        told = swap(sources[chosen])
        ropes = rope[:, :, None].expand(-1, -1, len(chosen), -1, -1, -1)
        assert_matches(i2p.aggregator.first[0](target, told, rope, ropes), expected)


def test_windows_enter_the_world_at_the_official_points(i2p, l2w, official):
    assert official["l2w.ref_ids"].tolist() == WORLD
    tokens = i2p.encode(swap(official["i2p.imgs_view_major"]))
    points = swap(official["l2w.pts_in_view_major"])
    extra = l2w.points(points)
    assert_matches(extra, swap(official["l2w.pes_view_major"]))
    assert_layers(walk(l2w, tokens, WORLD, extra), official, "l2w", WORLD)
    assert_answer(l2w(tokens, points, WORLD), official, "l2w")


def test_patches_and_pixels_without_points_are_taken_as_officially(i2p, l2w, official):
    tokens = i2p.encode(swap(official["i2p.imgs_view_major"]))
    points = swap(official["l2w.pts_in_view_major"])
    is_void = torch.zeros(2, 5, 3, 4, dtype=torch.bool)
    is_void[:, 1] = official["l2w_mask.patch_mask_view1"]
    answer = l2w(tokens, points, WORLD, is_void)
    for view in range(2):
        assert_matches(answer.confidence[:, view], official[f"l2w_mask.view{view}.conf"])
    valid = swap(official["norm.masks_view_major"])
    masked = l2w(tokens, points * valid[..., None], WORLD)
    assert_matches(masked.confidence[:, 1], official["l2winf.masked.view1.conf"])


def test_lengths_and_normalised_registration_are_the_official_ones(i2p, l2w, official):
    tokens = i2p.encode(swap(official["i2p.imgs_view_major"]))
    points = swap(official["l2w.pts_in_view_major"])
    valid = swap(official["norm.masks_view_major"])
    factor = official["norm.factor_all_views_masked"].flatten()
    assert_matches(measure_points(points, valid), factor)
    factor = official["norm.factor_views02"].flatten()
    assert_matches(measure_points(points[:, [0, 2]]), factor)
    answer = l2w.register(tokens, points, WORLD)
    for view in range(2):
        expected = official[f"l2winf.normalize.view{view}.pts3d"]
        assert_matches(answer.points[:, view], expected)


def test_normalised_views_have_length_one_and_references_share_theirs():
    torch.manual_seed(0)
    points = torch.randn(2, 4, 8, 8, 3) * torch.tensor([1.0, 5, 9, 20])[:, None, None, None]
    valid = torch.rand(2, 4, 8, 8) > 0.3
    scaled, lengths = normalise_views(points, [0, 2], valid)
    assert torch.equal(lengths[:, 0], lengths[:, 2])
    for views in ([0, 2], [1], [3]):
        length = measure_points(scaled[:, views], valid[:, views])
        torch.testing.assert_close(length, torch.ones(2))
    assert (scaled[~valid] == 0).all()


def test_registration_does_not_depend_on_the_units_of_length(l2w):
    torch.manual_seed(0)
    tokens, points = torch.randn(1, 3, 12, 32), torch.randn(1, 3, *SIZE_HW, 3)
    units = torch.tensor([7.0, 7.0, 0.1])[:, None, None, None]
    plain = l2w.register(tokens, points, [0, 1]).points
    scaled = l2w.register(tokens, points * units, [0, 1]).points
    torch.testing.assert_close(scaled, 7 * plain, rtol=1e-4, atol=1e-4)


def test_scene_frames_are_chosen_as_officially(golden):
    official = read_arrays(golden("slam3r/functions.npz"))
    scores = swap(official["corr_scores"])
    confidence, used = official["align_confs"], official["culmu_count"]
    assert torch.equal(select_scene_frames(scores, 5), official["sel5_plain"])
    chosen = select_scene_frames(scores, 5, confidence)
    assert torch.equal(chosen, official["sel5_conf"])
    assert torch.equal(select_scene_frames(scores, 5, used=used), official["sel5_culmu"])
    never = torch.zeros_like(used)
    assert torch.equal(select_scene_frames(scores, 5, used=never), official["sel5_plain"])


def test_the_order_of_sources_changes_nothing(i2p):
    torch.manual_seed(0)
    images, order = torch.rand(1, 4, 3, *SIZE_HW), [3, 1, 0, 2]
    points = i2p(images, 1).points[:, order]
    torch.testing.assert_close(i2p(images[:, order], 1).points, points, rtol=1e-4, atol=1e-5)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor made."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else [out]:
            if isinstance(part, Tensor):
                self.numel = max(self.numel, part.numel())
        return out


@pytest.mark.parametrize(("merge", "references"), [("max", [0, 1, 2]), ("join", [0])])
def test_memory_is_linear_in_the_views(merge, references, l2w):
    aggregator, largest = ReferenceSourceDecoder(32, 24, 2, 2, merge), {}
    for views in (6, 12):
        tokens = torch.randn(1, views, 12, 32)
        with Largest() as watch:
            aggregator(tokens, [references], l2w.rope(tokens, SIZE_HW))
        largest[views] = watch.numel
    # The 11 others of one view are 2.2 times as many as 5.
    assert largest[12] <= 3 * largest[6]


def test_what_can_not_be_asked_is_refused(i2p):
    images = torch.rand(1, 3, 3, *SIZE_HW)
    tokens = i2p.encode(images)
    for references in ([], [0, 1, 2], [3], [0, 0]):
        with pytest.raises(ConfigError, match="reference"):
            i2p.relate(tokens, references, SIZE_HW)
    with pytest.raises(ConfigError, match="reference"):
        i2p.compare(tokens, 3, SIZE_HW)
    with pytest.raises(ConfigError, match="5 blocks"):
        i2p.compare(tokens, 0, SIZE_HW, depth=5)


@pytest.mark.parametrize(
    ("network", "key_map", "manifest", "unused"),
    [
        (ImagesToPoints, SLAM3R_I2P, "i2p", 0),
        (LocalToWorld, SLAM3R_L2W, "l2w", 1024 * (3 * 16 * 16 + 1)),
    ],
)
def test_the_full_size_checkpoint_fits(network, key_map, manifest, unused, golden):
    official = read_manifest(golden(f"slam3r/manifest_{manifest}.json"))
    with torch.device("meta"):
        built = network(Slam3rConfig())
    check_fit(built.state_dict(), key_map.apply(official), manifest)
    ours = sum(p.numel() for p in built.parameters())
    assert ours + unused == sum(p.numel() for p in official.values())
