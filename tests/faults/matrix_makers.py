"""Faults of what `world make`, `models`, `train` and `adapt` are given."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.datasets import tiny_nuscenes as tiny
from tests.faults import harms
from tests.faults.matrix_runs import Prepare, plain
from tests.faults.place import (
    Place,
    pickled_code,
    plain_pickle,
    write_small_weights,
)
from tests.faults.rows import CommandFault


def check_of(make: Callable[[Path], object], name: str) -> Prepare:
    """`models check` of a file that is made."""

    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        make(place.folder / name)
        return ["models", "check", "dust3r", "--weights", name]

    return prepare


def recipe(command: str, text: bytes | str, *more: str) -> Prepare:
    """A command of a recipe that is written."""

    def prepare(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
        patch.setattr("driv3r.simulator.export.nuscenes_writer.ProcessPoolExecutor", must_not_run)
        patch.setattr("driv3r.training.trainer.ClipSource", must_not_run)
        place.write("recipe.yaml", text)
        place.write("file", "mine")
        given = ["world", "make", "--recipe"] if command == "world" else [command]
        where = ["--root"] if command == "world" else ["--out"]
        return [*given, "recipe.yaml", *(more or (*where, "made"))]

    return prepare


def foreign_dataset(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    return ["world", "make", "--root", str(place.data())]


def cut_checkpoint(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
    torch.save({"model": torch.zeros(9)}, place.write("made/checkpoint.pt", ""))
    harms.cut(0.5)(place.folder / "made/checkpoint.pt")
    return recipe("train", TRAIN)(place, patch)


def code_as_checkpoint(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
    pickled_code(place.write("made/checkpoint.pt", ""))
    return recipe("train", TRAIN)(place, patch)


def adapting(*more: str, **options: Any) -> Prepare:
    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        place.write("file", "mine")
        given: dict[str, Any] = {"dataset": "nuscenes", "root": place.shop.data, "split": "val"}
        given |= {"weights": place.shop.weights, "out": "adapted.safetensors"} | options
        return ["adapt", *(part for k, v in given.items() for part in (f"--{k}", str(v))), *more]

    return prepare


def adapting_long_logs(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
    """Logs that are long enough; no clip is to be rendered and no step taken."""
    patch.setattr(tiny, "KEYFRAMES", 5)
    root = tiny.write(place.folder / "long")
    patch.setattr("driv3r.training.adaptation.logs.adapt", must_not_run)
    return adapting("--replay", "0", root=root, out="file/adapted.safetensors")(place, patch)


def must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("the work has begun, which takes minutes")


TRAIN = "name: tiny\nsteps: 1\n"
world = partial(CommandFault, "driv3r world make")
models = partial(CommandFault, "driv3r models")
train = partial(CommandFault, "driv3r train")
adapt = partial(CommandFault, "driv3r adapt")
MAKERS = (
    world("missing", "the recipe", plain("world", "make", "--recipe", "gone.yaml"), 2,
          "ConfigError: no recipe at gone.yaml"),
    world("truncated", "the recipe", recipe("world", "seeds: [1, "), 2,
          "ConfigError: recipe.yaml is not YAML"),
    world("wrong type", "a recipe that is no text", recipe("world", b"\xff\xfe\x00"), 2,
          "ConfigError: recipe.yaml"),
    world("wrong type", "a layout that is not known",
          plain("world", "make", "--layout", "kitty"), 2,
          "ConfigError: no layout 'kitty'; known: nuscenes"),
    world("wrong type", "an option that is not known", recipe("world", "seed: 1"), 2,
          "ConfigError: recipe.yaml: unknown key 'seed'"),
    world("wrong type", "a number in words", recipe("world", "keyframes: many"), 2,
          "ConfigError: recipe.yaml: keyframes: expected int, got 'many'"),
    world("out of range", "no keyframes", recipe("world", "keyframes: 0"), 2,
          "ConfigError: ...keyframes"),
    world("out of range", "images of no size", recipe("world", "size_hw: [0, 0]"), 2,
          "ConfigError: ...size_hw"),
    world("out of range", "a camera rate that does not divide",
          recipe("world", "camera_hz: 7"), 2, "ConfigError: camera_hz 7: expected one of"),
    world("out of range", "a seed below 0", recipe("world", "seeds: [-1]"), 2,
          "ConfigError: ...seed"),
    world("duplicated", "a seed", recipe("world", "seeds: [3, 3]"), 2,
          "ConfigError: ...seed"),
    world("hostile", "a version that is a path", recipe("world", "version: ../../evil"), 2,
          "ConfigError: ...version"),
    world("unwritable", "a file in the place of --root",
          recipe("world", "seeds: [1]", "--root", "file"), 2, "can not write"),
    world("unwritable", "somebody's dataset in --root", foreign_dataset, 2,
          "ConfigError: ...that `driv3r world make` did not write"),
    models("wrong type", "`show` of a name that is not known", plain("models", "show", "dust4r"), 2,
           "ConfigError: no model 'dust4r'; there are driv3r-s"),
    models("missing", "`check` of no file", plain(
        "models", "check", "dust3r", "--weights", "gone.pth"), 2,
        "CheckpointError: no checkpoint at gone.pth"),
    models("truncated", "`check` of safetensors",
           check_of(lambda path: harms.cut(0.5)(write_small_weights(path)), "x.safetensors"), 2,
           "CheckpointError: x.safetensors is not a checkpoint that can be read safely"),
    models("truncated", "`check` of a .pth", check_of(lambda path: [
        torch.save({"a": torch.zeros(99)}, path), harms.cut(0.5)(path)], "x.pth"), 2,
        "CheckpointError: x.pth is not a checkpoint that can be read safely"),
    models("wrong type", "`check` of a web page", check_of(harms.put(harms.PAGE), "x.pth"), 2,
           "CheckpointError: x.pth is not a checkpoint that can be read safely"),
    models("wrong type", "`check` of another network", check_of(write_small_weights,
           "x.safetensors"), 2, "CheckpointError: x.safetensors: ...tensors missing"),
    models("hostile", "`check` of a .pth with code", check_of(pickled_code, "x.pth"), 2,
           "CheckpointError: x.pth is not a checkpoint that can be read safely"),
    models("hostile", "`check` of a bare pickle with code", check_of(plain_pickle, "x.pth"), 2,
           "CheckpointError: x.pth is not a checkpoint that can be read safely"),
    train("missing", "the recipe", plain("train", "gone"), 2,
          "ConfigError: no recipe named 'gone'; known: "),
    train("missing", "the weights to start from",
          recipe("train", TRAIN + "start_from: gone.safetensors"), 2,
          "CheckpointError: no weights at gone.safetensors", changes=("made/",)),
    train("truncated", "the recipe", recipe("train", "name: ["), 2,
          "ConfigError: recipe.yaml is not YAML"),
    train("truncated", "the checkpoint", cut_checkpoint, 2,
          "CheckpointError: made/checkpoint.pt"),
    train("wrong type", "a recipe that is no text", recipe("train", b"\xff\xfe\x00"), 2,
          "ConfigError: recipe.yaml"),
    train("wrong type", "a recipe without a name", recipe("train", "steps: 1"), 2,
          "ConfigError: recipe.yaml"),
    train("wrong type", "a number in words", recipe("train", TRAIN + "seed: many"), 2,
          "ConfigError: recipe.yaml: seed: expected int, got 'many'"),
    train("out of range", "no steps", recipe("train", "name: tiny\nsteps: 0"), 2,
          "ConfigError: neither `steps` nor `seconds` is given"),
    train("out of range", "seeds of held-out clips",
          recipe("train", TRAIN + "data: {first: 2000000}"), 2, "ConfigError: clips 2000000"),
    train("NaN", "the learning rate", recipe("train", TRAIN + "learning_rate: .nan"), 2,
          "ConfigError: ...learning_rate"),
    train("hostile", "a name that is a path", recipe("train", "name: ../../evil\nsteps: 1"), 2,
          "ConfigError: ...name"),
    train("hostile", "a checkpoint with code", code_as_checkpoint, 2,
          "CheckpointError: made/checkpoint.pt"),
    train("unwritable", "a file in the place of --out", recipe("train", TRAIN, "--out", "file"), 2,
          "can not write"),
    adapt("missing", "the dataset", adapting(root="nowhere"), 2,
          "DatasetError: the nuscenes root nowhere is not a folder"),
    adapt("missing", "the weights", adapting(weights="gone.safetensors"), 2,
          "CheckpointError: no weights at gone.safetensors"),
    adapt("truncated", "logs of three moments", adapting(), 2, "ConfigError: ...four"),
    adapt("wrong type", "weights that are a web page", adapting(weights="file"), 2,
          "CheckpointError: file is not a readable safetensors file"),
    adapt("wrong type", "--out that is no .safetensors", adapting(out="adapted.pt"), 2,
          "ConfigError: --out is adapted.pt; expected a file that ends in .safetensors"),
    adapt("wrong type", "a split that is not known", adapting(split="valley"), 2,
          "ConfigError: unknown split 'valley'"),
    adapt("out of range", "seeds of held-out clips", adapting("--replay", "2000000"), 2,
          "ConfigError: --replay is 2000000"),
    adapt("NaN", "the minutes", adapting("--minutes", "nan"), 2, "--minutes",
          usage=True),
    adapt("unwritable", "--out below a file", adapting_long_logs, 2,
          "can not write"),
)  # fmt: skip
