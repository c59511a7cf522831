"""Shapes and types of every call are checked in tests: jaxtyping + beartype on the whole package.

`driv3r.simulator` is left out: numba compiles its functions and can not see through a wrapper.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from jaxtyping import install_import_hook

CHECKED = (
    "types",
    "settings",
    "config",
    "geometry",
    "alignment",
    "tracking",
    "datasets",
    "models",
    "store",
    "evaluation",
    "fusion",
    "inference",
    "export",
    "reporting",
    "pipelines",
    "training",
)
install_import_hook([f"driv3r.{room}" for room in CHECKED], "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Imports a script of tools/ by its name, as it is when it is run from there."""

    def load(name: str) -> ModuleType:
        tools = str(Path(__file__).parents[1] / "tools")
        sys.path.insert(0, tools)
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(tools)

    return load


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; tests that need it skip, visibly, where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no real recordings beside the checkout (../shared/data)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Finds a golden of the official networks by its path, or skips; a few are in tests/goldens."""

    def find(name: str) -> Path:
        for folder in (SHARED / "goldens", Path(__file__).parent / "goldens"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"golden {name} is not here (../shared/goldens)")

    return find
