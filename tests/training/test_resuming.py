"""A run goes on by the recipe that it began with, and its card tells what it was trained on."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from driv3r.errors import CheckpointError, ConfigError
from driv3r.models.checkpoints import load_weights, save_weights
from driv3r.models.driv3r.losses import LossWeights
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, clip_path, ensure_clip
from driv3r.training.adaptation.adapt import AdaptConfig
from driv3r.training.adaptation.logs import adapt_to_logs
from driv3r.training.checkpoints import restore, save_checkpoint, save_light
from driv3r.training.clip_source import ClipSource
from driv3r.training.config import FIRST_VAL_SEED, DataConfig, TrainConfig
from driv3r.training.lineage import count_seeds, merge_seeds, read_ancestry
from driv3r.training.trainer import start_run, train
from driv3r.types import Scene

CPU = torch.device("cpu")
SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
DATA = DataConfig(
    ClipConfig(size_hw=(32, 48), frames=2), first=7, min_clips=2, max_clips=3, shapes=((1, 2),),
    half_size_shapes=(), views=3,
)  # fmt: skip
RECIPE = TrainConfig("tiny", SMALL, DATA, steps=2, validate_every=2, validation_clips=1)
FIRST = FIRST_TRAIN_SEED + 7

CHANGES = {
    "model.width is 48, was 32": {"model": dataclasses.replace(SMALL, width=48, heads=3)},
    "data.first is 8, was 7": {"data": dataclasses.replace(DATA, first=8)},
    "data.clips.finest is 2.0, was 1.0": {
        "data": dataclasses.replace(DATA, clips=dataclasses.replace(DATA.clips, finest=2.0))
    },
    "losses.edge is 2.0, was 0.5": {"losses": LossWeights(edge=2.0)},
    "learning_rate is 0.1, was 0.0008": {"learning_rate": 0.1},
    "seed is 3, was 0": {"seed": 3},
    "start_from is x.safetensors, was ": {"start_from": "x.safetensors"},
}
MAY_CHANGE = {
    "steps": 9, "seconds": 5.0, "validate_every": 3, "validate_every_s": 1.0, "save_every_s": 1.0,
    "log_every": 7, "compile": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with a whole checkpoint, and one with a light one."""
    folder = tmp_path_factory.mktemp("saved")
    run = start_run(RECIPE, folder / "none", CPU)
    run.progress.step = 5
    (folder / "whole").mkdir()
    save_checkpoint(run, folder / "whole")
    save_light(run, folder / "light" / "light")
    return folder


@pytest.mark.parametrize("kind", ["whole", "light"])
@pytest.mark.parametrize("told", CHANGES)
def test_a_changed_recipe_does_not_go_on(saved, kind, told):
    changed = dataclasses.replace(RECIPE, **CHANGES[told])
    run = start_run(dataclasses.replace(changed, start_from=""), saved / "none", CPU)
    run.config = changed
    before = {name: x.clone() for name, x in run.model.state_dict().items()}
    with pytest.raises(CheckpointError, match="another --out") as error:
        restore(run, saved / kind)
    assert told in str(error.value)
    assert str(error.value).count(", was ") == (1 if "width" not in told else 2)  # heads too
    assert run.progress.step == 0
    assert all(torch.equal(x, before[name]) for name, x in run.model.state_dict().items())


@pytest.mark.parametrize("kind", ["whole", "light"])
def test_what_does_not_decide_the_weights_may_change(saved, kind):
    run = start_run(dataclasses.replace(RECIPE, **MAY_CHANGE), saved / kind, CPU)
    assert run.progress.step == 5


def test_a_checkpoint_that_does_not_say_its_recipe_is_refused(saved, tmp_path):
    old = torch.load(saved / "whole" / "checkpoint.pt", weights_only=True)
    del old["recipe"]
    torch.save(old, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"earlier version.*another --out"):
        start_run(RECIPE, tmp_path, CPU)


def test_the_card_names_the_seeds_that_were_trained_on_and_no_failed_one(tmp_path):
    """Of three clips the second can not be read; two are needed before the first step."""
    for seed in range(FIRST, FIRST + 3):
        ensure_clip(tmp_path / "clips", seed, DATA.clips)
    clip_path(tmp_path / "clips", FIRST + 1, DATA.clips).write_bytes(b"no clip")
    weights = train(RECIPE, tmp_path / "run", workers=1)
    card = load_weights(weights)[1]
    assert card["train_seeds"] == [[FIRST, FIRST], [FIRST + 2, FIRST + 2]]
    assert card["ancestry"] == []
    assert card["history"][-1]["clips"] == 2

    # the same weights carry on in another run, which learns from other clips and is cut between
    data = dataclasses.replace(DATA, first=8, min_clips=1, max_clips=1)
    next_one = dataclasses.replace(
        RECIPE, name="next", data=data, start_from=str(weights), save_every_s=0.0, log_every=1
    )

    class Cut(Exception):
        pass

    def cut(row):
        if row["step"] == 2:
            raise Cut

    clip_path(tmp_path / "clips", FIRST + 1, DATA.clips).unlink()
    with pytest.raises(Cut):
        train(next_one, tmp_path / "next", on_log=cut)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    parent = {"name": "tiny", "sha256": digest, "train_seeds": card["train_seeds"]}
    save_weights(weights, SMALL, Driv3r(SMALL).state_dict(), {})  # not what the run began at
    card = load_weights(train(next_one, tmp_path / "next"))[1]
    assert card["train_seeds"] == [[FIRST + 1, FIRST + 1]]
    assert card["ancestry"] == [parent]


def test_ancestors_are_told_oldest_first(tmp_path):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    tensors = {"x": torch.zeros(1)}
    save_weights(old, SMALL, tensors, {"train_seeds": [5, 9], "recipe": {"name": "grandparent"}})
    first = read_ancestry(old)
    assert first[0]["train_seeds"] == [[5, 9]]  # as cards had them before
    save_weights(new, SMALL, tensors, {"ancestry": first})
    names = [(one["name"], one["train_seeds"]) for one in read_ancestry(new)]
    assert names == [("grandparent", [[5, 9]]), ("new", None)]
    save_weights(new, SMALL, tensors, {"recipe": 3})
    with pytest.raises(CheckpointError, match="card that can not be read"):
        read_ancestry(new)


def test_seeds_are_kept_as_ranges():
    ranges = merge_seeds([], [4, 2, 3, 9])
    assert ranges == [[2, 4], [9, 9]]
    assert merge_seeds(ranges, [5, 7, 8, 3]) == [[2, 5], [7, 9]]
    assert count_seeds(ranges) == 4


def test_training_can_not_reach_the_seeds_of_validation(tmp_path):
    last = FIRST_VAL_SEED - FIRST_TRAIN_SEED
    data = dataclasses.replace(DATA, first=last - 3)
    seeds = [list(ClipSource(tmp_path, data, CPU, 0, rank, 2).seeds) for rank in (0, 1)]
    assert max(map(max, seeds)) == FIRST_VAL_SEED - 1
    with pytest.raises(ConfigError, match="validated on"):
        dataclasses.replace(DATA, first=last - 2)
    with pytest.raises(ConfigError, match="validated on"):
        adapt_to_logs(NoLogs(), "002", tmp_path / "x.safetensors", AdaptConfig(), replay=100_001)


class NoLogs:
    """A dataset that is never asked for a log."""

    def scenes(self, split: str) -> tuple[str, ...]:
        raise AssertionError(split)

    def read(self, scene_id: str) -> Scene:
        raise AssertionError(scene_id)


def test_without_workers_all_clips_are_trained_on(tmp_path):
    train(dataclasses.replace(RECIPE, steps=1), tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["train_seeds"] == [[FIRST, FIRST + 2]]
