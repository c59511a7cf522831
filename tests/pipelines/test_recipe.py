import dataclasses
import json
import math
from typing import Any, Literal

import pytest
import torch

from driv3r.config import BUILT_IN, build_config, find_config, load_config
from driv3r.errors import ConfigError
from driv3r.evaluation.records import LogResult, Picture, load_failure, save_result
from driv3r.models.registry import MODELS
from driv3r.pipelines.process import make_settings
from driv3r.simulator.export.nuscenes_writer import WorldConfig
from driv3r.training.config import TrainConfig
from driv3r.types import Score


@dataclasses.dataclass(frozen=True)
class Inner:
    size_hw: tuple[int, int] = (1, 2)
    kind: Literal["a", "b"] = "a"


@dataclasses.dataclass(frozen=True)
class Outer:
    rate: float = 1.0
    inner: Inner = Inner()
    steps: tuple[float, ...] = ()
    limit: int | None = None
    free: dict[str, Any] = dataclasses.field(default_factory=dict)


def test_values_take_the_fields_types():
    data = {"rate": 2, "inner": {"size_hw": [3, 4], "kind": "b"}, "steps": [1, 2.5], "limit": 7}
    assert build_config(data, Outer, "x") == Outer(2.0, Inner((3, 4), "b"), (1.0, 2.5), 7)
    assert build_config({"limit": None, "free": {"k": [1]}}, Outer, "x").free == {"k": [1]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rat": 1}, "unknown key 'rat'"),
        ({"inner": {"size": 1}}, "unknown key 'size'"),
        ({"rate": "fast"}, "rate: expected float"),
        ({"limit": True}, "limit: expected int"),
        ({"inner": {"size_hw": [1]}}, "expected 2 entries"),
        ({"inner": {"kind": "c"}}, "expected one of"),
        ({"steps": 3}, "expected a list"),
        ([1], "mapping"),
    ],
)
def test_what_does_not_fit_is_named(data, message):
    with pytest.raises(ConfigError, match=message):
        build_config(data, Outer, "x")


@pytest.mark.parametrize(("room", "kind"), [("train", TrainConfig), ("world", WorldConfig)])
def test_built_in_recipes_are_whole(room, kind):
    paths = sorted((BUILT_IN / room).glob("*.yaml"))
    assert paths
    for path in paths:
        load_config(path, kind)


def test_recipes_are_found_by_name_or_not_at_all(tmp_path):
    assert find_config("demo", "world").name == "demo.yaml"
    with pytest.raises(ConfigError, match="known: demo"):
        find_config("nope", "world")
    with pytest.raises(ConfigError, match="no recipe at"):
        find_config(str(tmp_path / "nope.yaml"), "world")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(tmp_path / "bad.yaml", Outer)


def test_settings_name_the_wrong_option():
    with pytest.raises(ConfigError, match="ego_poses: expected one of"):
        make_settings(dataset="nuscenes", root=".", ego_poses="guessed")


def test_results_survive_the_disk(tmp_path):
    score = Score("abs_rel", 0.1, "", 3, "p", "s", images=2)
    result = LogResult("a", "done", scores=(score,), pictures=(Picture("t", "f"),), lost={"x": 1})
    save_result(result, tmp_path / "a.json")
    assert load_failure(tmp_path / "a.json") == result
    (tmp_path / "b.json").write_text("{")
    assert load_failure(tmp_path / "b.json") is None
    assert load_failure(tmp_path / "c.json") is None


def test_results_are_json_that_any_reader_takes(tmp_path):
    """NaN is none: Python writes it, browsers and jq stop at it."""
    nothing = Score("abs_rel", math.nan, "", 0, "p", "s")
    save_result(LogResult("a", "done", scores=(nothing,)), tmp_path / "a.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read["scores"][0]["value"] is None


@pytest.mark.parametrize(
    ("name", "trunk"), [("driv3r-s", 4e6), ("driv3r-b", 85e6), ("driv3r-l", 302e6)]
)
def test_training_recipes_are_of_the_networks_of_their_names(name, trunk):
    recipe = load_config(find_config(name, "train"), TrainConfig)
    assert recipe.model == MODELS[name].config
    assert MODELS[name].size_hw == recipe.model.size_hw == recipe.data.clips.size_hw
    with torch.device("meta"):
        aggregator = MODELS[name].build().aggregator
    assert abs(sum(p.numel() for p in aggregator.parameters()) / trunk - 1) < 0.03
