"""Strict YAML configs as frozen dataclasses; an unknown or ill-typed key is an error."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from driv3r.errors import ConfigError
from driv3r.settings import PACKAGE

T = TypeVar("T")
BUILT_IN = PACKAGE / "configs"


def find_config(name_or_path: str, section: str) -> Path:
    """A recipe's file: a path, or a name in the package's configs/<room>/."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no recipe at {path}; give a YAML file that exists or a name")
        return path
    built_in = BUILT_IN / section / f"{name_or_path}.yaml"
    if not built_in.is_file():
        known = sorted(p.stem for p in (BUILT_IN / section).glob("*.yaml"))
        raise ConfigError(f"no recipe named {name_or_path!r}; known: {', '.join(known)}")
    return built_in


def load_config(path: Path, kind: type[T]) -> T:
    """Parse a YAML file into a frozen dataclass."""
    return build_config(read_yaml(path), kind, str(path))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, {} for an empty one; ConfigError for invalid YAML."""
    try:
        return yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML: {reason}") from error


def build_config(data: Any, kind: type[T], where: str) -> T:
    """Fill a dataclass from a mapping; ConfigError names the key that does not fit."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping of options, got {data!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; known: {', '.join(fields)}")
    absent = [
        name
        for name, f in fields.items()
        if name not in data and f.default is f.default_factory is dataclasses.MISSING
    ]
    if absent:
        raise ConfigError(f"{where}: {', '.join(absent)} must be given")
    hints = typing.get_type_hints(kind)
    return kind(**{k: _convert(v, hints[k], f"{where}: {k}") for k, v in data.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    """A YAML value as the field's type: dataclasses, tuples, unions and plain scalars."""
    if dataclasses.is_dataclass(hint):
        return build_config(value, typing.cast(type, hint), where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(each) != len(value):
            raise ConfigError(f"{where}: expected {len(each)} entries, got {len(value)}")
        return tuple(_convert(v, h, where) for v, h in zip(value, each, strict=True))
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: expected one of {arguments}, got {value!r}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, got {value!r}")
        return {k: _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if type(value) is not hint:
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
