import argparse
import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from driv3r.errors import CheckpointError, ConfigError
from driv3r.models.key_maps.base import KeyMap
from driv3r.models.official_checkpoints import (
    check_official,
    load_official,
    parse_construction,
    read_official,
)
from driv3r.models.published.pair_networks import PairConfig, PairNet
from driv3r.models.registry import MODELS, ModelCard, get_model

TINY = PairConfig(width=32, depth=1, heads=2, cross_width=24, cross_depth=1, cross_heads=2)


@pytest.fixture(scope="module")
def entry() -> ModelCard:
    """A tiny pair network whose official names are its own."""
    return replace(MODELS["dust3r-224"], config=replace(TINY, dpt=None), key_map=KeyMap(()))


@pytest.fixture(scope="module")
def tensors(entry) -> dict:
    torch.manual_seed(0)
    return entry.build().state_dict()


def test_a_pth_with_args_loads_as_data(entry, tensors, tmp_path):
    path = tmp_path / "model.pth"
    args = argparse.Namespace(model="PairNet(patch=16)")
    torch.save({"model": tensors, "args": args, "epoch": 3}, path)
    read, construction = read_official(path)
    assert construction == "PairNet(patch=16)"
    assert read.keys() == tensors.keys()
    network = load_official(entry, path)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name])
    image = torch.zeros(1, 3, 32, 32)
    assert isinstance(network, PairNet)
    assert torch.isfinite(network(image, image)[1].points).all()


def test_safetensors_load_and_half_precision_is_widened(entry, tensors, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({k: v.half() for k, v in tensors.items()}, path)
    assert {p.dtype for p in load_official(entry, path).parameters()} == {torch.float32}


class Evil:
    def __reduce__(self):
        return print, ("the file's code ran",)


def test_a_pickle_with_code_is_refused_and_not_run(entry, tmp_path, capsys):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"model": Evil()}))
    torch.save({"model": Evil()}, tmp_path / "evil2.pth")
    for file in (path, tmp_path / "evil2.pth"):
        with pytest.raises(CheckpointError, match="can be read safely"):
            read_official(file)
    assert capsys.readouterr().out == ""


def test_what_does_not_fit_is_named(entry, tensors, tmp_path):
    fewer = {k: v for k, v in tensors.items() if k != "encoder.norm.weight"}
    with pytest.raises(CheckpointError, match=r"1 tensors missing, first: encoder\.norm\.weight"):
        check_official(entry, fewer, "file")
    with pytest.raises(CheckpointError, match="1 tensors unexpected"):
        check_official(entry, tensors | {"more": torch.zeros(1)}, "file")
    other = tensors | {"encoder.norm.weight": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"encoder\.norm\.weight \(7,\) for \(32,\)"):
        check_official(entry, other, "file")
    for bad in ({"model": 3}, [1], {"a": "text"}):
        torch.save(bad, tmp_path / "bad.pth")
        with pytest.raises(CheckpointError, match="no state dict"):
            read_official(tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_official(tmp_path / "absent.pth")


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "module.model."])
def test_what_wrappers_put_before_all_names_is_taken_off(entry, tensors, tmp_path, prefix):
    wrapped = {prefix + name: tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "wrapped.pth")
    save_file(wrapped, tmp_path / "wrapped.safetensors")
    expected = sum(x.numel() for x in tensors.values())
    for path in (tmp_path / "wrapped.pth", tmp_path / "wrapped.safetensors"):
        assert check_official(entry, read_official(path)[0], str(path)) == expected
        for name, tensor in load_official(entry, path).state_dict().items():
            torch.testing.assert_close(tensor, tensors[name])


def test_a_prefix_of_some_names_belongs_to_them(tmp_path):
    named = {"model.a": torch.zeros(1), "net.a": torch.ones(1), "head": torch.zeros(2)}
    save_file(named, tmp_path / "some.safetensors")
    assert read_official(tmp_path / "some.safetensors")[0].keys() == named.keys()


def test_construction_texts_are_parsed_and_never_run():
    name, values = parse_construction(
        "Asymmetric(pos_embed='RoPE100', img_size=(512, 512), conf_mode=('exp', 1, inf), "
        "depth_mode=('exp', -inf, inf), landscape_only=False)"
    )
    assert name == "Asymmetric"
    assert values["conf_mode"] == ("exp", 1, float("inf"))
    assert values["depth_mode"][1] == -float("inf")
    assert values["img_size"] == (512, 512)
    assert values["landscape_only"] is False
    for bad in ("__import__('os').system('x')", "A(b=open('x'))", "A(", "A(1)"):
        with pytest.raises(CheckpointError, match="plain constructor call"):
            parse_construction(bad)


def test_key_maps_cut_and_join_attention():
    official = {
        "a.qkv.weight": torch.arange(12.0).reshape(6, 2),
        "b.key.bias": torch.zeros(2),
        "b.value.bias": torch.ones(2),
        "dropped": torch.zeros(1),
    }
    ours = KeyMap((("^a", "x"),), ("dropped",)).apply(official)
    assert ours.keys() == {"x.query.weight", "x.key_value.weight", "b.key_value.bias"}
    assert ours["x.key_value.weight"].tolist() == official["a.qkv.weight"][2:].tolist()
    assert ours["b.key_value.bias"].tolist() == [0, 0, 1, 1]
    with pytest.raises(CheckpointError, match="two official tensors"):
        KeyMap((("b", "a"),)).apply({"a": torch.zeros(1), "b": torch.zeros(1)})


def test_entries_say_what_a_user_must_know():
    for name, entry in MODELS.items():
        assert entry.weights_license, name
        assert entry.checkpoint.startswith(("https://", "shipped", "none fits", "none yet")), name
        json.dumps([entry.paper, entry.inputs, entry.outputs, entry.scale])
    with pytest.raises(ConfigError, match="no model 'x'; there are driv3r-s"):
        get_model("x")
