"""Where the goldens lie."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Finds a golden by its path below the goldens' folder, or skips."""

    def find(name: str) -> Path:
        if not (GOLDENS / name).exists():
            pytest.skip(f"golden {name} is not here (../shared/goldens)")
        return GOLDENS / name

    return find
