"""PandaSet's pickled tables: read as numbers and strings, so that no code of a file runs."""

import gzip
import io
import pickle
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.images import read_file
from driv3r.errors import DatasetError

GZIP_START = b"\x1f\x8b"
MOST_BYTES = 2**28  # that a table may inflate to: a sweep takes 10 MB
# All that a pickled table of numbers and strings names, by the pandas of PandaSet's makers or ours.
GLOBALS = frozenset(
    {
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("pandas", "DataFrame"),
        ("pandas", "Index"),
        ("pandas", "RangeIndex"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.internals.managers", "BlockManager"),
    }
)


def read_table(path: Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """The asked columns of a pickled DataFrame, gzipped or plain.

    Raises DatasetError where the file is missing or broken, lacks a column, or names a global
    beyond the few that such a table needs: an unchecked pickle runs whatever its writer wished.
    """
    import pandas  # only this dataset needs it, and it is slow to import

    data = read_file(path)
    try:
        data = _inflate(data) if data.startswith(GZIP_START) else data
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"the table can not be inflated: {path}: {error}") from error
    try:
        frame = _TableUnpickler(io.BytesIO(data)).load()
        if not isinstance(frame, pandas.DataFrame):
            raise DatasetError(f"expected a pickled DataFrame, got a {type(frame).__name__}")
        return _take_columns(frame, columns)
    except DatasetError as error:
        raise DatasetError(f"{error}: {path}") from error
    except Exception as error:  # what a damaged pickle raises is up to numpy and pandas
        raise DatasetError(f"the pickled table can not be read: {path}: {error!r}") from error


def _inflate(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        out = file.read(MOST_BYTES + 1)
    if len(out) > MOST_BYTES:
        raise OSError(f"it takes more than {MOST_BYTES} bytes")
    return out


def _take_columns(frame: Any, columns: Sequence[str]) -> dict[str, np.ndarray]:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DatasetError(f"the table lacks {', '.join(missing)} of {', '.join(columns)}")
    if not frame.columns.is_unique:
        raise DatasetError(f"the table has columns twice: {', '.join(map(str, frame.columns))}")
    return {name: frame[name].to_numpy() for name in columns}


class _TableUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in GLOBALS:
            raise DatasetError(
                f"the pickle asks for {module_name}.{global_name}, which no table of numbers and "
                "strings needs; it was not run. Fetch the original file"
            )
        return super().find_class(module_name, global_name)


def take_floats(
    table: Mapping[str, np.ndarray], columns: Sequence[str], path: Path
) -> Float[np.ndarray, "n c"]:
    """Columns side by side; DatasetError where they hold other than numbers."""
    try:
        return np.stack([table[name].astype(np.float64) for name in columns], axis=-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{', '.join(columns)} are not all numbers: {path}: {error}") from error
