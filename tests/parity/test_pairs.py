"""DUSt3R, MonST3R (the same network), MASt3R and Align3R against their official code."""

from dataclasses import replace

import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest

from driv3r.network.checkpoints import check_fit
from driv3r.network.dpt import DptConfig
from driv3r.network.keymaps import ALIGN3R, DUST3R
from driv3r.network.models import MODELS
from driv3r.network.pairs import PairConfig, PairNet

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
    with torch.no_grad():
        tokens = network.see(*images, points)
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


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_full_size_checkpoint_fits(name, golden):
    official = read_manifest(golden(MANIFESTS[name]))
    entry = MODELS[name]
    with torch.device("meta"):
        network = entry.build()
    check_fit(network.state_dict(), entry.key_map.apply(official), name)
