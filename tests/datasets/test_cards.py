"""Readers' cards: complete, as the readers are, and what docs/datasets/index.md is made from."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from driv3r.datasets import READERS, open_dataset
from driv3r.datasets.cards import DatasetCard, card_of
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.errors import ConfigError, DatasetError
from tests.datasets import tiny_ddad, tiny_folder, tiny_nuscenes, tiny_pandaset, tiny_waymo

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "datasets" / "index.md"
TINY = {"nuscenes": tiny_nuscenes, "ddad": tiny_ddad, "pandaset": tiny_pandaset}


def test_the_page_is_made_from_the_cards(load_tool: Callable[[str], ModuleType]) -> None:
    made = load_tool("list_datasets").make_page()
    assert PAGE.read_text() == made, "run `python tools/list_datasets.py`"
    assert "datasets/index.md" in (TOP / "mkdocs.yml").read_text()


@pytest.mark.parametrize("name", READERS)
def test_every_reader_of_ours_has_a_whole_card(name: str) -> None:
    card = card_of(READERS[name])
    assert card is not None
    for told in (card.title, card.sensors, card.licence, card.source, card.layout, card.ground):
        assert told == told.strip()
        assert told
    assert card.splits
    assert all(len(line) <= 100 for line in card.layout.splitlines())
    extras = (TOP / "pyproject.toml").read_text()
    assert not card.extra or f"\n{card.extra} = [" in extras


def test_a_package_may_leave_its_card_out() -> None:
    class Plain:
        pass

    class Odd:
        card = "nuScenes"

    assert card_of(Plain) is None
    assert card_of(Odd) is None


def test_a_reader_does_not_inherit_another_datasets_licence() -> None:
    class Street(NuScenesReader):
        pass

    assert card_of(NuScenesReader) is not None
    assert card_of(Street) is None


@pytest.mark.parametrize("name", ["nuscenes", "ddad", "pandaset", "folder", "waymo"])
def test_cards_name_the_splits_that_readers_know(name: str, tmp_path: Path) -> None:
    """An unknown split is a ConfigError; one that is known and not here a DatasetError."""
    more = {"folder": tiny_folder.write, "waymo": tiny_waymo.write_v1}
    write = more[name] if name in more else TINY[name].write
    reader = open_dataset(name, write(tmp_path / "root"))
    card = card_of(READERS[name])
    assert isinstance(card, DatasetCard)
    for split in card.splits:
        try:
            assert reader.scenes(split)
        except DatasetError:
            continue
    with pytest.raises(ConfigError):
        reader.scenes("no such split")
