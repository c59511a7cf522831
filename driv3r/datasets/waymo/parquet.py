"""One Parquet file of a v2 component: columns by name, and single rows of its large columns."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from driv3r.errors import ConfigError, DatasetError


class Component:
    """A file of one component; its last row group of large columns is kept in memory.

    Raises DatasetError where the file is missing or no Parquet, ConfigError where pyarrow is not
    installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: tuple[int, Any] | None = None
        self._lock = Lock()  # fusion may read frames from several threads
        if not path.is_file():
            raise DatasetError(f"the file is missing: {path}")
        file = self._open()
        counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._names = file.schema_arrow.names

    def _open(self) -> Any:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise ConfigError(
                f"Waymo's v2 files need pyarrow ({error}): pip install 'driv3r[waymo]'"
            ) from error
        try:
            return parquet.ParquetFile(self.path)
        except (ArrowException, OSError) as error:
            raise DatasetError(
                f"{self.path} is no whole Parquet file ({error}); fetch it again"
            ) from error

    def _check(self, columns: Sequence[str]) -> None:
        lacking = [name for name in columns if name not in self._names]
        if lacking:
            raise DatasetError(
                f"{self.path} lacks the column {', '.join(lacking)}; it has "
                f"{', '.join(self._names)[:400]}. Fetch the file again"
            )

    def read(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """All rows, of the named columns."""
        self._check(columns)
        table = self._load(lambda file: file.read(columns=list(columns)))
        return table.to_pylist()

    def has(self, column: str) -> bool:
        """Whether the file has a column."""
        return column in self._names

    def read_cell(self, row: int, column: str, beside: Sequence[str] = ()) -> Any:
        """One value, None where there is none; a list of numbers as an array.

        `beside` are further columns of the row that are about to be read.
        """
        group = int(np.searchsorted(self._ends, row, side="right"))
        columns = [name for name in (column, *beside) if name in self._names]
        self._check([column])
        with self._lock:
            if self._held is None or self._held[0] != group or column not in self._held[1]:
                table = self._load(lambda file: file.read_row_group(group, columns=columns))
                self._held = group, {name: table.column(name) for name in columns}
            cell = self._held[1][column][row - int(self._ends[group] - len(self._held[1][column]))]
        if not cell.is_valid:
            return None
        if hasattr(cell, "values"):
            return cell.values.to_numpy(zero_copy_only=False)
        return cell.as_py()

    def _load(self, read: Any) -> Any:
        from pyarrow import ArrowException

        try:
            with self._open() as file:
                return read(file)
        except (ArrowException, OSError) as error:
            raise DatasetError(f"{self.path} is damaged ({error}); fetch the file again") from error
