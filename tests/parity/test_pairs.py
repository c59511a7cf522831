"""DUSt3R, MonST3R (the same network), MASt3R and Align3R against their official code."""

from dataclasses import replace

import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest
from safetensors.torch import load_file

from driv3r.models.checkpoints import check_fit
from driv3r.models.key_maps.base import ALIGN3R, DUST3R
from driv3r.models.layers.dpt import DptConfig
from driv3r.models.published.geometric_priors import GeometricPrior
from driv3r.models.published.pair_networks import PairConfig, PairNet
from driv3r.models.registry import MODELS

DPT = DptConfig(hooks=(0, 2, 3, 4), widths=(8, 12, 16, 24), features=16, hidden=8)
TINY = PairConfig(width=64, depth=2, heads=4, cross_width=48, cross_depth=4, cross_heads=4, dpt=DPT)
CASES = {
    "dust3r/linear": (replace(TINY, dpt=None), DUST3R),
    "dust3r/dpt": (TINY, DUST3R),
    "mast3r/catmlpdpt": (replace(TINY, descriptors=6, descriptor_mlp_ratio=1.0), DUST3R),
    "align3r/dpt": (
        replace(TINY, cross_depth=8, dpt=replace(DPT, hooks=(0, 4, 6, 8)), point_blocks=2),
        ALIGN3R,
    ),
}
MANIFESTS = {
    "dust3r": "dust3r/manifest_DUSt3R_ViTLarge_BaseDecoder_512_dpt.json",
    "dust3r-224": "dust3r/manifest_DUSt3R_ViTLarge_BaseDecoder_224_linear.json",
    "monst3r": "dust3r/manifest_DUSt3R_ViTLarge_BaseDecoder_512_dpt.json",
    "mast3r": "mast3r/manifest_MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric.json",
    "align3r": "align3r/manifest_align3r_ViTLarge_BaseDecoder_512_dpt.json",
}


@pytest.mark.parametrize("case", CASES)
def test_every_layer_and_answer_is_the_official_one(case, golden):
    system, variant = case.split("/")
    config, key_map = CASES[case]
    network = load_official(
        PairNet(config), key_map, golden(f"{system}/tiny_{variant}.safetensors")
    )
    official = read_arrays(golden(f"{system}/io_{variant}.npz"))
    images = official["img1"], official["img2"]
    points = (official["pointmap1"], official["pointmap2"]) if system == "align3r" else None
    priors = GeometricPrior(points=points)
    with torch.no_grad():
        tokens = network.see(*images, priors)
        answers = network.answer(tokens, images[0].shape[-2:])
    if points is not None:
        embedded = network.prior.embed(torch.cat(points))
        assert_matches(embedded, official["point_tokens"])
    for view, (encoded, layers, answer) in enumerate(
        zip(tokens.encoded, tokens.layers, answers, strict=True), 1
    ):
        assert_matches(encoded, official[f"feat{view}"])
        for i, layer in enumerate(layers):
            assert_matches(layer, official[f"dec{view}_{i}"])
        name = "pts3d" if view == 1 else "pts3d_in_other_view"
        assert_matches(answer.points, official[f"res{view}_{name}"])
        assert_matches(answer.confidence, official[f"res{view}_conf"])
        if config.descriptors:
            assert_matches(answer.descriptors, official[f"res{view}_desc"])
            assert_matches(answer.descriptor_confidence, official[f"res{view}_desc_conf"])


def make_priors(seed: int = 0, b: int = 2, size_hw=(64, 96)) -> GeometricPrior:
    """Rays, depth with holes and a relative pose."""
    torch.manual_seed(seed)
    rays = tuple(torch.nn.functional.normalize(torch.randn(b, 3, *size_hw), dim=1) for _ in "ab")
    depth_m = tuple(torch.rand(b, *size_hw) * 30 * (torch.rand(b, *size_hw) > 0.5) for _ in "ab")
    first_T_second = torch.eye(4).repeat(b, 1, 1)
    first_T_second[:, 0, 3] = 2.0
    return GeometricPrior(rays=rays, depth_m=depth_m, first_T_second=first_T_second)


def test_pow3r_without_priors_and_with_silent_ones_is_dust3r(golden):
    network = PairNet(replace(TINY, use_priors=True)).eval()
    tensors = DUST3R.apply(load_file(golden("dust3r/tiny_dpt.safetensors")))
    missing = network.load_state_dict(tensors, strict=False).missing_keys
    assert all(name.startswith("prior_embedding.") for name in missing)
    official = read_arrays(golden("dust3r/io_dpt.npz"))
    for priors in (GeometricPrior(), make_priors()):
        with torch.no_grad():
            first, second = network(official["img1"], official["img2"], priors)
        assert_matches(first.points, official["res1_pts3d"])
        assert_matches(second.points, official["res2_pts3d_in_other_view"])


@pytest.mark.parametrize("part", ["rays", "depth_m", "first_T_second"])
def test_each_prior_of_pow3r_is_heard_and_the_unit_of_length_is_not(part):
    torch.manual_seed(1)
    network = PairNet(replace(TINY, use_priors=True)).eval()
    for parameter in network.prior_embedding.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images, priors = torch.rand(2, 2, 3, 64, 96), make_priors()
    only = GeometricPrior(**{part: getattr(priors, part)})
    longer = priors.first_T_second.clone()
    longer[:, :3, 3] *= 3
    scaled = replace(priors, depth_m=tuple(3 * d for d in priors.depth_m), first_T_second=longer)
    with torch.no_grad():
        without = network(*images)[0].points
        assert (network(*images, only)[0].points - without).abs().max() > 1e-4
        torch.testing.assert_close(
            network(*images, priors)[0].points, network(*images, scaled)[0].points
        )


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_full_size_checkpoint_fits(name, golden):
    official = read_manifest(golden(MANIFESTS[name]))
    entry = MODELS[name]
    with torch.device("meta"):
        network = entry.build()
    check_fit(network.state_dict(), entry.key_map.apply(official), name)
