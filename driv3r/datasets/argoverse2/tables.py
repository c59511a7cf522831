"""Argoverse 2's tables: Apache Feather files, read as numbers and strings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.images import read_file
from driv3r.errors import ConfigError, DatasetError

PLACE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")  # of a rigid transform


def _load_arrow(path: Path) -> Any:
    try:
        import pyarrow.feather  # only this dataset needs it, and it is slow to import
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} is a Feather file, which needs pyarrow: pip install 'driv3r[argoverse2]'"
        ) from error
    return pyarrow


def read_table(
    path: Path, numbers: Sequence[str], whole: Sequence[str] = (), texts: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The asked columns of a Feather file: as float64, int64, and text.

    Raises DatasetError where the file is missing or broken, lacks a column or holds other things in
    it, ConfigError where pyarrow is not installed.
    """
    arrow = _load_arrow(path)
    data = read_file(path)
    asked = [*numbers, *whole, *texts]
    try:
        names = arrow.ipc.open_file(arrow.BufferReader(data)).schema.names
        missing = [name for name in asked if name not in names]
        twice = [name for name in asked if names.count(name) > 1]
        if missing or twice:
            fault = "lacks" if missing else "has more than once"
            raise DatasetError(
                f"the table {fault} {', '.join(missing or twice)}, expected the columns "
                f"{', '.join(asked)}; fetch the file again: {path}"
            )
        table = arrow.feather.read_table(arrow.BufferReader(data), columns=asked)
        table.validate(full=True)
        kinds = dict.fromkeys(numbers, np.float64) | dict.fromkeys(whole, np.int64)
        return {
            name: _take(arrow, table.column(name), kinds.get(name), f"{name} of {path}")
            for name in asked
        }
    except (arrow.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the table is no whole Feather file: {path}: {error}; fetch it again"
        ) from error


def _take(arrow: Any, column: Any, kind: Any, where: str) -> np.ndarray:
    """A column's values; DatasetError where some are absent or of another kind."""
    types, given = arrow.types, column.type
    fits = {
        np.float64: types.is_floating(given) or types.is_integer(given),
        np.int64: types.is_integer(given),
        None: types.is_string(given) or types.is_large_string(given) or types.is_dictionary(given),
    }
    if column.null_count or not fits[kind]:
        expected = {np.float64: "numbers", np.int64: "whole numbers", None: "texts"}[kind]
        raise DatasetError(
            f"{where} holds {given} with {column.null_count} of {len(column)} values absent, "
            f"expected {expected}, all there; fetch the file again"
        )
    if kind is None:
        return np.array(column.cast(arrow.string()).to_pylist(), dtype=object)
    return column.to_numpy().astype(kind)


def stack(table: Mapping[str, np.ndarray], columns: Sequence[str]) -> Float[np.ndarray, "n c"]:
    """Number columns side by side."""
    return np.stack([table[name] for name in columns], axis=-1)


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """A Feather file of columns, as the recordings' are; ConfigError where pyarrow is absent."""
    arrow = _load_arrow(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow.feather.write_feather(arrow.table(dict(columns)), str(path))
