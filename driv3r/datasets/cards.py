"""What a dataset is, for whoever wants to use it: `driv3r datasets` prints these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetCard:
    """A dataset's facts, which its reader carries as `card`.

    `layout` draws the folder that the reader takes as its root, one line an entry. `extra` is the
    part of driv3r's installation that the reader needs beside the core, "" for none.
    """

    title: str
    sensors: str
    splits: tuple[str, ...]
    licence: str
    source: str  # where and how to get it
    layout: str
    ground: str  # where the ego origin lies over the road, and who says so
    extra: str = ""


def card_of(make: Callable[..., Any]) -> DatasetCard | None:
    """The card of a reader's class; None where a package's reader carries none.

    An inherited one is none: it tells another dataset's licence.
    """
    card = vars(make).get("card")
    return card if isinstance(card, DatasetCard) else None
