"""Official splits, and scenes by them."""

import json
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path

from driv3r.datasets.nuscenes.tables_reader import TablesReader
from driv3r.errors import ConfigError, DatasetError


@cache
def official_splits() -> dict[str, list[str]]:
    """nuScenes' scene names of every official split, in the devkit's order."""
    numbers = json.loads(Path(__file__).with_name("splits.json").read_text())
    return {split: [f"scene-{n:04d}" for n in of_split] for split, of_split in numbers.items()}


@cache
def truckscenes_splits() -> dict[str, list[str]]:
    """TruckScenes' scene names of every official split, as its devkit (Apache-2.0) lists them."""
    drives = json.loads(Path(__file__).with_name("truckscenes_splits.json").read_text())
    return {
        split: [f"scene-{drive}-{n}" for drive, numbers in of_split.items() for n in numbers]
        for split, of_split in drives.items()
    }


class OfficialSplitsReader(TablesReader, ABC):
    """Scenes by official splits, each of which one folder of tables holds."""

    @abstractmethod
    def official(self) -> dict[str, list[str]]:
        """Scene names by split."""

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene names of an official split that the tables hold; `all` for every one they hold.

        Raises ConfigError on an unknown split, DatasetError when the tables hold none of it.
        """
        official = self.official()
        if split == "all":
            return super().scenes(split)
        if split not in official:
            raise ConfigError(f"unknown split {split!r}; known are all, {', '.join(official)}")
        version = self._version_for(split)
        held = self._open(version).scene_named
        found = tuple(name for name in official[split] if name in held)
        if not found:
            if not held:
                self._refuse_empty()
            some = ", ".join(list(held)[:5]) + (", ..." if len(held) > 5 else "")
            raise DatasetError(
                f"{self._root.path / version} holds no scene of split {split!r}; it holds "
                f"{len(held)}: {some}. Take them with --split all"
            )
        return found

    def _version_for(self, split: str) -> str:
        suited = "v1.0-test" if split == "test" else "v1.0-trainval"
        if split.startswith("mini_"):
            suited = "v1.0-mini"
        if suited in self._versions:
            return suited
        if len(self._versions) == 1:
            return next(iter(self._versions))
        raise DatasetError(
            f"split {split!r} is read from {suited}, but {self._root.path} has only "
            f"{', '.join(self._versions)}; take a split of those, or --split all"
        )

    def _rank(self, version: str, scene_id: str) -> tuple[bool, ...]:
        last = "v1.0-trainval" if scene_id in self.official()["test"] else "v1.0-test"
        return (*super()._rank(version, scene_id), version == last)
