"""The folder that a faulty command is run in, and what lies ready for it."""

import errno
import json
import os
import pickle
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from driv3r.models.checkpoints import save_weights
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from tests.datasets import tiny_nuscenes as tiny

SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
FIRST, SECOND = tiny.SCENES


@dataclass(frozen=True)
class Shop:
    """Not to be changed: a dataset of two logs, weights of a tiny network, a finished run."""

    data: Path
    weights: Path
    run: Path


@dataclass(frozen=True)
class Place:
    """A row's own folder, which is also the current one while its command runs."""

    folder: Path
    shop: Shop

    def data(self) -> Path:
        """A copy of the dataset, to be harmed."""
        return Path(shutil.copytree(self.shop.data, self.folder / "data"))

    def run(self) -> Path:
        """A copy of the finished run, to be harmed."""
        return Path(shutil.copytree(self.shop.run, self.folder / "out"))

    def write(self, name: str, content: bytes | str) -> Path:
        """A file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def process(self, *more: str, **options: Any) -> list[str]:
        """`driv3r process` over the dataset into out/; options replace or add to its own."""
        given = {
            "dataset": "nuscenes",
            "root": self.shop.data,
            "split": "val",
            "out": self.folder / "out",
            "weights": self.shop.weights,
            "refine": "none",
        } | options
        return ["process", *options_of(given), "--inline", *more]


def options_of(given: dict[str, Any]) -> list[str]:
    """Options as a command line has them; None leaves one out."""
    named = ((f"--{name.replace('_', '-')}", value) for name, value in given.items())
    return [part for name, value in named if value is not None for part in (name, str(value))]


def write_small_weights(path: Path, **changes: Any) -> Path:
    """Untrained weights of a tiny network."""
    config = replace(SMALL, **changes)
    torch.manual_seed(0)
    save_weights(path, config, Driv3r(config).state_dict(), {})
    return path


class RunsCode:
    """Makes a folder where it is unpickled without a check."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("/tmp/driv3r-was-run",)


def pickled_code(path: Path) -> Path:
    """A .pth that runs code where it is not read as data."""
    torch.save({"model": RunsCode()}, path)
    return path


def plain_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps(RunsCode()))
    return path


def full_disk(patch: pytest.MonkeyPatch, part: str) -> None:
    """No room for whatever is written to a path with `part` in it."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if part in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    patch.setattr(os, "fsync", fsync)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
