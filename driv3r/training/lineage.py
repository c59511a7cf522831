"""Where weights come from: the seeds of the worlds that they saw, and the weights they began at."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from driv3r.errors import CheckpointError
from driv3r.models.checkpoints import read_tensors
from driv3r.settings import hash_file

SeedRanges = list[list[int]]  # [first, last] of seeds without a gap, in their order


def merge_seeds(ranges: SeedRanges, more: Iterable[int]) -> SeedRanges:
    """Ranges of all seeds of both."""
    merged: SeedRanges = []
    for first, last in sorted([*ranges, *([seed, seed] for seed in more)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged


def count_seeds(ranges: SeedRanges) -> int:
    """How many seeds they are."""
    return sum(last - first + 1 for first, last in ranges)


def read_ancestry(path: Path) -> list[dict[str, Any]]:
    """Name, training seeds and sha256 of a file of weights, after those it began at, oldest first.

    Seeds are None where its card does not tell them. CheckpointError for a file that is no weights.
    """
    try:
        card = json.loads(read_tensors(path)[1].get("card", "{}"))
        own = {
            "name": card.get("recipe", {}).get("name", path.stem),
            "sha256": hash_file(path),
            "train_seeds": as_ranges(card.get("train_seeds")),
        }
        return [*card.get("ancestry", []), own]
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} has a card that can not be read ({error}); expected JSON as `driv3r train` "
            "writes it: give other weights"
        ) from error


def as_ranges(ranges: Any) -> SeedRanges | None:
    """Seed ranges of a card; older cards have only the first and the last seed."""
    if ranges is None:
        return None
    return [ranges] if ranges and isinstance(ranges[0], int) else ranges
