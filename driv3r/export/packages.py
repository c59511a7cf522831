"""Optional libraries of formats, imported when a format is written."""

import importlib.util
from typing import Any

from driv3r.errors import ConfigError


def need(module: str, extra: str = "export") -> Any:
    """The module of that name; ConfigError tells how to install it where it does not load."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{module}, which this format needs, can not be imported ({error}): "
            f"pip install 'driv3r[{extra}]'"
        ) from error


def is_there(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it lies in
        return False
