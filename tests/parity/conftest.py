"""Where the goldens lie."""

from collections.abc import Callable
from pathlib import Path

import pytest

FOLDERS = (
    Path(__file__).resolve().parents[3] / "shared" / "goldens",
    Path(__file__).resolve().parents[1] / "goldens",
)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Finds a golden by its path below the goldens' folder, or skips."""

    def find(name: str) -> Path:
        for folder in FOLDERS:
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"golden {name} is not here (../shared/goldens)")

    return find
