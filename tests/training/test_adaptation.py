"""Adapting to logs: what changes, what is kept, and what is refused."""

import dataclasses
import hashlib

import pytest
import torch

from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError
from driv3r.models.checkpoints import load_weights, save_weights
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, render_clip
from driv3r.training.adaptation.adapt import AdaptConfig, adapt, split_moments
from driv3r.training.adaptation.logs import FIRST_REPLAY, adapt_to_logs
from driv3r.training.clip_pool import VALID, RawClip, put_on_device
from driv3r.training.validation import validate

CPU = torch.device("cpu")
SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
BRIEF = AdaptConfig(minutes=0.1, learning_rate=5e-3, validations=3)


def thin_out(clip: RawClip, seed: int) -> RawClip:
    """The clip as a LiDAR would label it: depth at every tenth pixel, no motion."""
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(clip.depth_m.shape, generator=generator) < 0.1
    seen &= clip.depth_m > 0
    return dataclasses.replace(
        clip, labels=(seen * VALID).to(torch.uint8), depth_m=torch.where(seen, clip.depth_m, 1.0)
    )


@pytest.fixture(scope="module")
def clips() -> list[RawClip]:
    recipe = ClipConfig(SMALL.size_hw, frames=2)
    rendered = [render_clip(FIRST_TRAIN_SEED + i, recipe) for i in (3, 4, 5)]
    return [thin_out(put_on_device(clip, CPU), i) for i, clip in enumerate(rendered)]


@pytest.fixture(scope="module")
def network() -> Driv3r:
    torch.manual_seed(0)
    return Driv3r(SMALL).eval()


def test_adapted_weights_are_better_and_only_the_named_parts_change(network, clips):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    rows: list[dict] = []
    adapted = adapt(network, clips[:1], clips[1:2], clips[2:], BRIEF, rows.append)
    assert adapted.steps > 3
    assert adapted.before == {k: v for k, v in rows[0].items() if k != "step"}
    assert adapted.after["val_abs_rel"] < 0.9 * adapted.before["val_abs_rel"]
    assert validate(adapted.network, clips[1:2], 2) == adapted.after
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])  # the given network stays as it was
    changed = {
        name.split(".")[0]
        for name, value in adapted.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == set(BRIEF.trained)


def test_weights_that_get_no_better_are_given_back(network, clips):
    """The held-out clip's truth is what the network says itself: nothing can be better."""
    raw = clips[1]
    views = tuple(range(raw.views))
    from driv3r.training.batches import Draw, assemble

    with torch.no_grad():
        outputs, _ = network(assemble([raw], [Draw(0, 2, views)])[0])
    said = dataclasses.replace(raw, depth_m=outputs.log_depth[0].exp().half())
    hasty = dataclasses.replace(BRIEF, minutes=0.03, learning_rate=0.1)
    adapted = adapt(network, clips[:1], [said], [], hasty)
    assert adapted.after == adapted.before
    for name, value in adapted.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_moments_are_split_in_time():
    assert split_moments(40, 0.2) == ((0, 32), (32, 40))
    assert split_moments(4, 0.01) == ((0, 2), (2, 4))
    assert split_moments(5, 0.9) == ((0, 2), (2, 5))
    with pytest.raises(ConfigError, match="four"):
        split_moments(3, 0.2)


def test_nothing_to_learn_from_and_impossible_settings_are_refused(network, clips):
    with pytest.raises(ConfigError, match="0 clips to learn from"):
        adapt(network, [], clips, [], BRIEF)
    with pytest.raises(ConfigError, match="generated_share"):
        AdaptConfig(generated_share=1.0)
    with pytest.raises(ConfigError, match="expected more than none"):
        AdaptConfig(minutes=0.0)


def test_a_recorded_log_ends_in_weights_that_load(network, recordings, tmp_path):
    parent, out = tmp_path / "parent.safetensors", tmp_path / "adapted.safetensors"
    told = {"sigma_scale": 0.9, "recipe": {"name": "earlier"}, "train_seeds": [[3, 8]]}
    save_weights(parent, SMALL, network.state_dict(), told)
    config = dataclasses.replace(BRIEF, minutes=0.05)
    reader = open_dataset("pandaset", recordings / "pandaset")
    adapted = adapt_to_logs(
        reader, "002", out, config, weights=parent, held_out_share=0.1, replay=1
    )
    loaded, card = load_weights(out)
    assert card["logs"] == ["002"]
    assert card["sigma_scale"] == 0.9
    assert card["after"] == adapted.after
    assert card["train_seeds"] == [[FIRST_REPLAY, FIRST_REPLAY]]
    digest = hashlib.sha256(parent.read_bytes()).hexdigest()
    assert card["ancestry"] == [{"name": "earlier", "sha256": digest, "train_seeds": [[3, 8]]}]
    head = "dense.out.weight"
    torch.testing.assert_close(
        loaded.state_dict()[head], adapted.network.state_dict()[head], atol=1e-3, rtol=1e-3
    )
    with pytest.raises(ConfigError, match="safetensors"):
        adapt_to_logs(reader, "002", tmp_path / "x.pt", config, weights=parent)
