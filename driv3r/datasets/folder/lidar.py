"""LiDAR sweeps of one's own: PLY, PCD, LAS/LAZ, NumPy and raw binary files, one a sweep."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.folder.times import time_of_name
from driv3r.datasets.images import read_file
from driv3r.errors import ConfigError, DatasetError
from driv3r.kernels.lzf import decompress

PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
PCD_KINDS = {"F": "f", "I": "i", "U": "u"}


def read_points(path: Path, recording: Recording) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of a sweep's file, by its suffix.

    Raises DatasetError where it is missing, broken or lacks columns, ConfigError where LAS needs
    laspy and it is not installed.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DatasetError(f"{path} is no sweep; known are {', '.join(READERS)}")
    try:
        return _finish(read(path, recording), path)
    except (DatasetError, ConfigError):
        raise
    except Exception as error:  # what a damaged file raises is up to numpy and laspy
        raise DatasetError(f"the point cloud can not be read: {path}: {error!r}") from error


def list_sweeps(folder: Path, recording: Recording) -> list[tuple[int, Path]]:
    """Time (us) and file of the sweeps in a folder, in order; none where there is no folder."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.suffix.lower() in READERS]
    return sorted((time_of_name(path, recording), path) for path in files)


def _finish(points: np.ndarray, path: Path) -> Float[np.ndarray, "n 3"]:
    if points.ndim != 2 or points.shape[1] != 3:
        raise DatasetError(f"{path} holds points of shape {points.shape}, expected (n, 3)")
    return points.astype(np.float32)


def _take_xyz(table: np.ndarray, path: Path) -> np.ndarray:
    """x, y, z of a structured array, whatever the case of its names."""
    names = {name.lower(): name for name in table.dtype.names or ()}
    if not {"x", "y", "z"} <= set(names):
        raise DatasetError(
            f"{path} has the columns {', '.join(names)}, expected x, y, z among them"
        )
    return np.stack([table[names[axis]].astype(np.float64) for axis in "xyz"], axis=-1)


def _take_columns(rows: np.ndarray, columns: Sequence[str], path: Path) -> np.ndarray:
    lower = [name.lower() for name in columns]
    if not {"x", "y", "z"} <= set(lower) or rows.ndim != 2 or rows.shape[1] != len(columns):
        raise DatasetError(
            f"{path} holds an array of shape {rows.shape}, recording.lidar_columns says "
            f"{', '.join(columns)}; expected as many columns, x, y, z among them"
        )
    return rows[:, [lower.index(axis) for axis in "xyz"]]


def _read_npy(path: Path, recording: Recording) -> np.ndarray:
    points = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    if points.dtype.names:
        return _take_xyz(points, path)
    three = points.ndim == 2 and points.shape[1] == 3
    return points if three else _take_columns(points, recording.lidar_columns, path)


def _read_bin(path: Path, recording: Recording) -> np.ndarray:
    data, columns = read_file(path), recording.lidar_columns
    dtype = np.dtype(recording.lidar_dtype).newbyteorder("<")
    if len(data) % (dtype.itemsize * len(columns)):
        raise DatasetError(
            f"{path} has {len(data)} bytes, no multiple of {len(columns)} columns of {dtype.name}; "
            "set recording.lidar_columns and lidar_dtype in rig.yaml"
        )
    return _take_columns(np.frombuffer(data, dtype).reshape(-1, len(columns)), columns, path)


def _read_las(path: Path, recording: Recording) -> np.ndarray:
    try:
        import laspy  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path} needs laspy: pip install 'driv3r[las]'") from error
    return np.asarray(laspy.read(io.BytesIO(read_file(path))).xyz)


def _header(data: bytes, end: str, path: Path) -> tuple[list[list[str]], bytes]:
    """The words of a text header's lines up to the one that begins with `end`, and what follows."""
    at, lines = 0, []
    while True:
        stop = data.find(b"\n", at)
        if stop < 0:
            raise DatasetError(f"{path} has no header that ends with {end}")
        words = data[at:stop].decode("ascii", errors="replace").split()
        at = stop + 1
        if words and not words[0].startswith("#"):
            lines.append(words)
            if words[0] == end:
                return lines, data[at:]


def _parse_rows(body: bytes, dtype: np.dtype, count: int, is_text: bool, path: Path) -> np.ndarray:
    """`count` rows of a structured type, as text or as bytes."""
    if is_text:
        rows = body.decode("ascii").splitlines()[:count]
        table = np.array([tuple(row.split()) for row in rows], dtype)
    else:
        table = np.frombuffer(body[: count * dtype.itemsize], dtype)
    if len(table) != count:
        raise DatasetError(f"{path} is cut short: {len(table)} points, its header says {count}")
    return table


def _read_ply(path: Path, recording: Recording) -> np.ndarray:
    lines, body = _header(read_file(path), "end_header", path)
    kind = next((words[1] for words in lines if words[0] == "format"), "")
    elements = [i for i, words in enumerate(lines) if words[0] == "element"]
    if lines[0] != ["ply"] or kind not in PLY_ORDERS or not elements:
        raise DatasetError(f"{path} is no PLY of a format among {', '.join(PLY_ORDERS)}")
    first = lines[elements[0]]
    if first[1] != "vertex":
        raise DatasetError(f"{path} begins with the element {first[1]}, expected vertex")
    last = elements[1] if len(elements) > 1 else len(lines)
    fields = [words[1:] for words in lines[elements[0] : last] if words[0] == "property"]
    if any(len(words) != 2 or words[0] not in PLY_TYPES for words in fields):
        raise DatasetError(f"{path}: its vertices have lists or unknown types: {fields}")
    dtype = np.dtype([(name, PLY_ORDERS[kind] + PLY_TYPES[of]) for of, name in fields])
    return _take_xyz(_parse_rows(body, dtype, int(first[2]), kind == "ascii", path), path)


def _read_pcd(path: Path, recording: Recording) -> np.ndarray:
    lines, body = _header(read_file(path), "DATA", path)
    told = {words[0]: words[1:] for words in lines}
    missing = {"FIELDS", "SIZE", "TYPE", "POINTS", "DATA"} - set(told)
    if missing:
        raise DatasetError(f"{path} is no PCD: its header lacks {', '.join(sorted(missing))}")
    form = told["DATA"][0]
    if form not in ("ascii", "binary", "binary_compressed"):
        raise DatasetError(
            f"{path} is a PCD of DATA {form}, expected ascii, binary or binary_compressed; convert "
            "it: pcl_convert_pcd_ascii_binary IN OUT 1"
        )
    counts = map(int, told.get("COUNT", ["1"] * len(told["FIELDS"])))
    fields: list[Any] = []
    for i, (name, size, kind, n) in enumerate(
        zip(told["FIELDS"], told["SIZE"], told["TYPE"], counts, strict=True)
    ):
        label = f"pad{i}" if name == "_" else name
        fields += [
            (f"{label}_{k}" if n > 1 else label, f"<{PCD_KINDS[kind]}{size}") for k in range(n)
        ]
    count, dtype = int(told["POINTS"][0]), np.dtype(fields)
    if form == "binary_compressed":
        return _take_xyz(_parse_compressed(body, dtype, count, path), path)
    return _take_xyz(_parse_rows(body, dtype, count, form == "ascii", path), path)


def _parse_compressed(body: bytes, dtype: np.dtype, count: int, path: Path) -> np.ndarray:
    """Points of a PCD's LZF, in which each field's values follow one another."""
    lengths = np.frombuffer(body[:8], "<u4").tolist()
    expected = count * dtype.itemsize
    if len(lengths) != 2 or lengths[1] != expected or len(body) < 8 + lengths[0]:
        raise DatasetError(
            f"{path} tells {lengths} bytes of compressed points and of points, expected "
            f"{len(body) - 8} and {expected}: it is cut short or damaged"
        )
    plain = np.empty(expected, np.uint8)
    if decompress(np.frombuffer(body, np.uint8)[8 : 8 + lengths[0]], plain) != expected:
        raise DatasetError(f"{path}: its compressed points are damaged")
    table, at = np.empty(count, dtype), 0
    for name in dtype.names or ():
        end = at + count * dtype[name].itemsize
        table[name] = plain[at:end].view(dtype[name])
        at = end
    return table


READERS: dict[str, Callable[[Path, Recording], np.ndarray]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".las": _read_las,
    ".laz": _read_las,
    ".npy": _read_npy,
    ".bin": _read_bin,
}
