"""Faults of what the commands are given: options, recipes, weights, runs."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from driv3r.models.checkpoints import read_tensors
from driv3r.store.lock import lock_folder
from tests.datasets import tiny_nuscenes as tiny
from tests.faults import harms
from tests.faults.matrix_nuscenes import datum, put, repeat, run_backwards
from tests.faults.place import (
    FIRST,
    Place,
    pickled_code,
    write_small_weights,
)
from tests.faults.rows import CommandFault

Prepare = Callable[[Place, pytest.MonkeyPatch], list[str]]
process = partial(CommandFault, "driv3r process")
OUT = ("out/",)


def with_options(*more: str, **options: Any) -> Prepare:
    return lambda place, _: place.process(*more, **options)


def over(*harm: Callable[[Path], object]) -> Prepare:
    """Over a copy of the dataset that is harmed."""

    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        root = place.data()
        for each in harm:
            each(root)
        return place.process(root=root)

    return prepare


def with_weights(make: Callable[[Path], object], name: str = "harmed.safetensors") -> Prepare:
    """With weights that are made beside the shop's."""

    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        path = place.folder / name
        shutil.copy(place.shop.weights, path)
        make(path)
        return place.process(weights=path)

    return prepare


def spoil(path: Path) -> None:
    """Weights of which one tensor is NaN."""
    tensors, metadata = read_tensors(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    save_file(tensors | {name: torch.full_like(tensors[name], np.nan)}, path, metadata)


def strip(path: Path) -> None:
    save_file(read_tensors(path)[0], path)


def narrow(path: Path) -> None:
    """Another network's tensors under this one's description."""
    metadata = read_tensors(path)[1]
    save_file(read_tensors(write_small_weights(path, width=16))[0], path, metadata)


def file_as_out(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    return place.process(out=place.write("file", "mine"))


def below_a_file(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    return place.process(out=place.write("file", "mine") / "below")


def thesis_in_the_way(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    place.write(f"out/{FIRST}.zarr/thesis.txt", "mine")
    return place.process()


def other_weights(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    place.run()
    return place.process(weights=write_small_weights(place.folder / "w.safetensors", memory=3))


def held(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
    """Another run holds the folder until the row is over."""
    other = lock_folder(place.folder / "out", "driv3r process")
    other.__enter__()
    patch.setattr("tests.faults.matrix_commands.release", other.__exit__)
    return place.process()


def release(*_: object) -> None:
    """What ends the other run, where there is one."""


def in_millimetres(root: Path) -> None:
    tiny.edit(root, "ego_pose", lambda rows: [
        row.update(translation=[1e3 * v for v in row["translation"]])
        for row in rows if FIRST in row["token"]
    ])  # fmt: skip


def no_images(root: Path) -> None:
    shutil.rmtree(root / "samples" / "CAM_FRONT")
    shutil.rmtree(root / "samples" / "CAM_BACK")


PROCESS = (
    process("missing", "the dataset's folder, where none is named", with_options(root=None), 2,
            "ConfigError: no dataset at data/nuscenes: `driv3r world make`"),
    process("missing", "the dataset's folder", with_options(root="nowhere"), 2,
            "DatasetError: the nuscenes root ...nowhere is not a folder"),
    process("missing", "the dataset's tables", over(lambda root: shutil.rmtree(
        root / "v1.0-trainval")), 2, "DatasetError: ...is no nuScenes root"),
    process("missing", "the weights", with_options(weights="gone.safetensors"), 2,
            "ConfigError: no weights at ...gone.safetensors; give a file that exists"),
    process("missing", "the dataset's name", with_options(dataset=None), 2,
            "Missing", usage=True),
    process("missing", "all images", over(no_images), 1,
            "scene-0003 failed: DatasetError: log scene-0003: none of 3 frames has an image",
            changes=OUT),
    process("missing", "one sweep", over(lambda root: tiny.keyframe_file(
        root, "LIDAR_TOP").unlink()), 0, "input repaired 1 times in 1 logs, such as lidar",
        changes=OUT),
    process("truncated", "the weights", with_weights(harms.cut(0.5)), 2,
            "CheckpointError: ...is not a readable safetensors file"),
    process("truncated", "a table", over(lambda root: harms.cut(0.5)(
        root / "v1.0-trainval/sample.json")), 2, "DatasetError: ...sample.json is no valid JSON"),
    process("wrong type", "weights that are a web page", with_weights(harms.put(harms.PAGE)), 2,
            "CheckpointError: ...is not a readable safetensors file"),
    process("wrong type", "weights that do not say of what network", with_weights(strip), 2,
            "CheckpointError: ...does not say how its network is built"),
    process("wrong type", "weights of another network", with_weights(narrow), 2,
            "CheckpointError: ...tensors of another shape"),
    process("wrong type", "a count in words", with_options(workers="two"), 2,
            "--workers", usage=True),
    process("wrong type", "a dataset that is not known", with_options(dataset="kity"), 2,
            "ConfigError: no dataset 'kity'; known: nuscenes, ddad, pandaset"),
    process("wrong type", "a split that is not known", with_options(split="valley"), 2,
            "ConfigError: unknown split 'valley'"),
    process("wrong unit", "one log's ego poses in millimetres", over(in_millimetres), 1,
            "scene-0003 failed: DatasetError: ...wrong unit of time or length?", changes=OUT),
    process("out of range", "no threads", with_options(threads=0), 2,
            "--threads", usage=True),
    process("out of range", "a device that is not here", with_options(device="cuda:99"), 2,
            "ConfigError: device 'cuda:99' can not be used here"),
    process("NaN", "an ego pose", over(put("ego_pose", datum("CAM_FRONT"), "translation",
                                           [np.nan, 0, 0])), 0,
            "input repaired 1 times in 1 logs, such as CAM_FRONT", changes=OUT),
    process("NaN", "weights", with_weights(spoil), 2, "CheckpointError: ...NaN"),
    process("duplicated", "a token with other content", over(repeat(
        "ego_pose", datum("CAM_FRONT"), translation=[0, 0, 0])), 2,
        "DatasetError: ...holds two rows of token"),
    process("unsorted", "one log's samples", over(run_backwards), 1,
            "scene-0003 failed: DatasetError: frames of scene scene-0003 run backwards in time",
            changes=OUT),
    process("hostile", "a scene named as a path", over(put(
        "scene", "scene-0012/token", "name", "../../evil")), 2,
        "UnsafePathError: scene id '../../evil'"),
    process("hostile", "one log's file outside of the root", over(put(
        "sample_data", datum("CAM_FRONT"), "filename", "../../etc/passwd")), 1,
        "scene-0003 failed: UnsafePathError: the tables name '../../etc/passwd'", changes=OUT),
    process("hostile", "weights that are a pickle with code",
            with_weights(pickled_code, "harmed.pth"), 2, "CheckpointError: ...harmed.pth is not"),
    process("hostile", "a folder's name of 300 letters", with_options(out="a" * 300), 2,
            "ConfigError: can not write to ...File name too long"),
    process("unwritable", "a file in the place of --out", file_as_out, 2,
            "ConfigError: can not write to ...name another --out"),
    process("unwritable", "--out below a file", below_a_file, 2,
            "ConfigError: can not write to ...name another --out"),
    process("unwritable", "a stranger's folder in a log's place", thesis_in_the_way, 2,
            "StoreError: ...scene-0003.zarr exists and is no driv3r log: move it away"),
    process("unwritable", "a finished run of other weights", other_weights, 2,
            "StoreError: ...2 finished logs ...that this command would make otherwise"),
    process("two at once", "another run that writes to --out", held, 2,
            "ConfigError: another `driv3r process` is writing to", changes=("out/.lock",)),
)  # fmt: skip
