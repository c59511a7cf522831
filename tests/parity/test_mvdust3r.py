"""MV-DUSt3R and MV-DUSt3R+ against their official code."""

import math
from dataclasses import replace

import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest
from torch import Tensor

from driv3r.errors import ConfigError
from driv3r.models.checkpoints import check_fit
from driv3r.models.key_maps.multi_view import MVDUST3R
from driv3r.models.layers.multi_view_decoder import sources_of
from driv3r.models.layers.point_heads import LinearPoints
from driv3r.models.layers.rope import make_rope
from driv3r.models.published.mvdust3r import MvDust3r, MvDust3rConfig

TINY = MvDust3rConfig(
    width=32,
    depth=2,
    heads=2,
    cross_width=24,
    cross_depth=3,
    cross_heads=2,
    skip_width=6,
    gaussian_width=12,
)
SIZE_HW = (32, 48)
PARTS = ("rgb", "opacity", "scale", "rotation")


@pytest.fixture(scope="module")
def single(golden):
    path = golden("mvdust3r/tiny_mvd.safetensors")
    return load_official(MvDust3r(TINY), MVDUST3R, path)


@pytest.fixture(scope="module")
def several(golden):
    path = golden("mvdust3r/tiny_mvdp.safetensors")
    return load_official(MvDust3r(replace(TINY, across=True)), MVDUST3R, path)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def swap(x: Tensor) -> Tensor:
    """Views first, as the goldens are, to batch first."""
    return x.transpose(0, 1)


def rope_of(network: MvDust3r, images: Tensor) -> Tensor:
    return network.encoder.rope(images[:, 0], network.aggregator.head_dim)


def encode(network: MvDust3r, images: Tensor) -> Tensor:
    return torch.stack([network.encoder(image) for image in images.unbind(1)], 1)


def assert_slot(network, tokens, images, path: int, view: int, official: dict) -> int:
    """All that the golden tells of a view in a path; how many arrays that was."""
    answer = network.answer(tokens, images, path)
    gaussians = network.predict_gaussians(tokens, SIZE_HW, path)
    ours = {part: getattr(gaussians, part) for part in PARTS}
    ours |= {"pts3d": answer.points, "conf": answer.confidence}
    told = official.keys() & ours.keys()
    for name in told:
        assert_matches(ours[name][:, view], official[name])
    return len(told)


def slot_arrays(official: dict, name: str, slot: int, rows: slice = slice(None)) -> dict:
    prefix = f"{name}.view{slot}."
    return {k.removeprefix(prefix): v[rows] for k, v in official.items() if k.startswith(prefix)}


@pytest.mark.parametrize(("name", "views", "told"), [("mvd", 4, 6), ("mvd_two", 2, 2)])
def test_every_layer_and_answer_of_one_reference(name, views, told, single, golden):
    official = read_arrays(golden("mvdust3r/io_mvd.npz"))
    images = swap(official["imgs_view_major"])[:, :views]
    encoded = encode(single, images)
    layers = [encoded]
    rope = rope_of(single, images)
    layers += [x[:, 0] for x in single.aggregator.iterate_layers(encoded, [[0]], rope)]
    layers[-1] = single.aggregator.norm(layers[-1])
    tokens = single.see(images)
    for view in range(views):
        for i, layer in enumerate(layers):
            assert_matches(layer[:, view], official[f"{name}.dec_view{view}_layer{i}"])
        arrays = slot_arrays(official, name, view)
        assert assert_slot(single, tokens, images, 0, view, arrays) == told


@pytest.mark.parametrize(
    ("name", "views", "batch", "told"),
    [("mvdp", 4, 2, (6, 6, 2, 2)), ("mvdp_allref", 2, 1, (2, 2))],
)
def test_every_answer_of_several_references(name, views, batch, told, several, golden):
    official = read_arrays(golden("mvdust3r/io_mvdp.npz"))
    images = swap(official["imgs_view_major"])[:batch, :views]
    references = int(official["mvdp.n_ref"]) if name == "mvdp" else views
    tokens = several.see(images, references)
    for path in range(references):
        # Officially, row b * R + r has view r in slot 0 and view 0 in slot r.
        rows, slots = slice(path, None, references), list(range(views))
        slots[0], slots[path] = slots[path], slots[0]
        for slot, view in enumerate(slots):
            layer = official[f"{name}.dec_view{slot}_layer0"][rows]
            assert_matches(tokens[:, path, view], layer)
            arrays = slot_arrays(official, name, slot, rows)
            assert assert_slot(several, tokens, images, path, view, arrays) == told[slot]
    first = several(images, references)
    assert torch.equal(first.points, several.answer(tokens, images).points)


def test_every_block_of_several_references(several, golden):
    blocks = read_arrays(golden("mvdust3r/mvdp_blocks.npz"))
    images = swap(read_arrays(golden("mvdust3r/io_mvdp.npz"))["imgs_view_major"])
    encoded = encode(several, images)
    assert_matches(encoded, torch.stack([blocks[f"enc_view{v}"] for v in range(4)], 1))
    aggregator, rope = several.aggregator, rope_of(several, images)
    calls = {kind: iter([k for k in blocks if k.startswith(kind)]) for kind in ("b1", "b2", "sv")}
    x = aggregator.project(encoded)[:, None].expand(-1, 3, -1, -1, -1)
    for layer in range(TINY.cross_depth):
        x = torch.stack([aggregator.step(layer, x[:, r], [r], rope) for r in range(3)], 1)
        for path in range(3):
            assert_matches(x[:, path, path], blocks[next(calls["b1"])])
            for view in sources_of([path], 4):
                assert_matches(x[:, path, view], blocks[next(calls["b2"])])
        x = aggregator.exchange(layer, x, rope)
        for view in range(4):
            for path in range(3):
                assert_matches(x[:, path, view], blocks[next(calls["sv"])])
    assert not [name for kind in calls.values() for name in kind]


def test_a_block_joins_its_memories(several, golden):
    official = read_arrays(golden("mvdust3r/block.npz"))
    rope = make_rope(official["pos"], several.aggregator.head_dim)
    sources = swap(official["ys"])
    ropes = rope[:, :, None].expand(-1, -1, 3, -1, -1, -1)
    ours = several.aggregator.first[0](official["x"], sources, rope, ropes)
    assert_matches(ours, official["out_dec_blocks_0"])


def test_the_order_of_other_views_changes_nothing(single):
    torch.manual_seed(0)
    images, order = torch.rand(1, 4, 3, *SIZE_HW), [0, 3, 1, 2]
    points = single(images).points[:, order]
    torch.testing.assert_close(single(images[:, order]).points, points, rtol=1e-4, atol=1e-5)


def test_paths_tell_each_other_within_a_batch_item_only(several):
    torch.manual_seed(0)
    images = torch.rand(2, 3, 3, *SIZE_HW)
    both = several.see(images, 2)
    for item in range(2):
        alone = several.see(images[item : item + 1], 2)
        torch.testing.assert_close(both[item : item + 1], alone, rtol=1e-4, atol=1e-5)


def test_confidence_is_bounded():
    head = LinearPoints(4, 2, skip_width=6, max_confidence=1e9).eval()
    torch.nn.init.zeros_(head.out.weight)
    for raw, expected in ((30.0, 1e9), (2.0, 1 + math.exp(2.0))):
        torch.nn.init.constant_(head.out.bias, raw)
        answer = head([torch.zeros(1, 4, 4)], (4, 4), torch.zeros(1, 3, 4, 4))
        torch.testing.assert_close(answer.confidence, torch.full((1, 4, 4), expected))


def test_what_can_not_be_asked_is_refused(single, several):
    images = torch.rand(1, 3, 3, *SIZE_HW)
    for network, references in ((single, 2), (several, 1), (several, 0), (several, 4)):
        with pytest.raises(ConfigError, match="reference"):
            network.see(images, references)
    with pytest.raises(ConfigError, match="path 2"):
        several.answer(several.see(images, 2), images, 2)


@pytest.mark.parametrize(("manifest", "across"), [("mvd", False), ("mvdp", True)])
def test_the_full_size_checkpoint_fits(manifest, across, golden):
    official = read_manifest(golden(f"mvdust3r/manifest_{manifest}.json"))
    with torch.device("meta"):
        network = MvDust3r(MvDust3rConfig(across=across))
    check_fit(network.state_dict(), MVDUST3R.apply(official), manifest)
    ours = sum(tensor.numel() for tensor in network.state_dict().values())
    assert ours + official["mask_token"].numel() == sum(t.numel() for t in official.values())
