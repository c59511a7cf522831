"""Faults of datasets in the DGP layout."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets.json_files import edit
from tests.datasets.tiny_ddad import CALIBRATION, POINT_FORMAT, SCENE, STILL, offset
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import DDAD

FRONT, SIDE, LIDAR = "CAMERA_01", "CAMERA_05", "lidar"
AT = 1  # the sample that is harmed
IMAGE, CLOUD = 3 * AT, 3 * AT + 2  # its rows in `data`: two cameras, then the LiDAR
LOST = {"lost": ((AT, FRONT),)}
BLIND = {"lost": ((AT, LIDAR),)}
row = partial(ReaderFault, DDAD)


def in_root(name: str) -> Callable[[Path], Path]:
    return lambda root: root / name


image, cloud = in_root(f"000007/rgb/{AT}.jpg"), in_root(f"000007/points/{AT}.npz")


def put(file: str, *keys: Any, value: Any) -> Harm:
    return lambda root: edit(root / file, *keys, value=value)


def pose(place: Any = None, turn: Any = None) -> Harm:
    value = {"rotation": turn or STILL, "translation": place or offset(12.5)}
    return put(SCENE, "data", IMAGE, "datum", "image", "pose", value=value)


def rewrite(file: str, change: Callable[[Any], object]) -> Harm:
    def harm(root: Path) -> None:
        content = json.loads((root / file).read_text())
        change(content)
        (root / file).write_text(json.dumps(content))

    return harm


def scale_poses(factor: float) -> Harm:
    def change(scene: Any) -> None:
        for each in scene["data"]:
            for content in each["datum"].values():
                content["pose"]["translation"]["x"] *= factor

    return rewrite(SCENE, change)


def save(points: np.ndarray, **more: np.ndarray) -> Callable[[Path], object]:
    return lambda path: np.savez(path, data=points, **more)


def archive(npy: bytes) -> Callable[[Path], object]:
    """An npz of one member's bytes."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("data.npy", npy)

    return write


def claiming(shape: str) -> bytes:
    """An .npy whose header tells a shape of its own."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def lock(path: Path) -> None:
    """Mark the archive's member as encrypted."""
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def inflate(path: Path) -> None:
    """An archive of some kB that takes 300 MB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("data.npy", "w") as out,
    ):
        for _ in range(300):
            out.write(bytes(2**20))


def plain_npy(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((5, 4)))
    path.write_bytes(buffer.getvalue())


def swap_samples(scene: Any) -> None:
    scene["samples"][0], scene["samples"][1] = scene["samples"][1], scene["samples"][0]


def whole() -> np.ndarray:
    return np.arange(20.0).reshape(5, 4)


def with_nan() -> np.ndarray:
    points = whole()
    points[2, 3] = np.nan
    return points


LENS = ("intrinsics", 1)
TIME = ("data", IMAGE, "id", "timestamp")
MISSING = (
    row("missing", "a camera's image", to_file(image, Path.unlink), "repair",
        "CAMERA_01: view left out: the file is missing", **LOST),
    row("missing", "a point cloud", to_file(cloud, Path.unlink), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("missing", "the scene table", to_file(in_root("ddad.json"), Path.unlink), "error",
        "has no JSON file with scene_splits"),
    row("missing", "a scene's file", to_file(in_root(SCENE), Path.unlink), "error",
        "the file is missing: ...scene_abc.json"),
    row("missing", "the calibration", to_file(in_root(CALIBRATION), Path.unlink), "error",
        "the file is missing: ...cal.json"),
    row("missing", "a datum that a sample names", put(SCENE, "samples", AT, "datum_keys",
        value=["gone"]), "error", "data has no row 'gone', which a sample names"),
    row("missing", "a camera's datum in a sample", put(SCENE, "samples", AT, "datum_keys",
        value=[f"{SIDE}{AT}", f"LIDAR{AT}"]), "repair",
        "CAMERA_01: the sample names no datum of this sensor", **LOST),
    row("missing", "all scenes of the table", put("ddad.json", "scene_splits", value={}), "error",
        "lists no scene in split 'all'; it lists none at all"),
)  # fmt: skip
TRUNCATED = (
    row("truncated", "a JPEG", to_file(image, harms.cut(0.9)), "repair",
        "CAMERA_01: view left out: the image is cut short", **LOST),
    row("truncated", "a point cloud", to_file(cloud, harms.cut(0.7)), "repair",
        "lidar: sweep left out: the point cloud can not be read", **BLIND),
    row("truncated", "a point cloud of no bytes", to_file(cloud, harms.put(b"")), "repair",
        "the point cloud is no npz archive", **BLIND),
    row("truncated", "a scene's file", to_file(in_root(SCENE), harms.cut(0.5)), "error",
        "scene_abc.json is no valid JSON"),
    row("truncated", "the calibration's list of places", put(CALIBRATION, "extrinsics", value=[]),
        "error", "expected 3 extrinsics, one a name"),
)  # fmt: skip
WRONG_TYPE = (
    row("wrong type", "an image that is a web page", to_file(image, harms.put(harms.PAGE)),
        "repair", "neither JPEG nor PNG", **LOST),
    row("wrong type", "a plain .npy as a point cloud", to_file(cloud, plain_npy), "repair",
        "the point cloud is no npz archive", **BLIND),
    row("wrong type", "points of whole numbers", to_file(cloud, save(np.ones((5, 4), int))),
        "repair", "the point cloud is int64 (5, 4), expected floats (n, 4)", **BLIND),
    row("wrong type", "points of three columns for four", to_file(cloud, save(np.ones((5, 3)))),
        "repair", "the point cloud is float64 (5, 3), expected floats (n, 4)", **BLIND),
    row("wrong type", "another order of the points' columns", put(SCENE, "data", CLOUD, "datum",
        "point_cloud", "point_format", value=POINT_FORMAT[::-1]), "repair",
        "lidar: left out: point_format differs", **BLIND),
    row("wrong type", "a timestamp that is a number", put(SCENE, *TIME, value=17), "error",
        "timestamp 17 is no ISO 8601 time"),
    row("wrong type", "samples that are a number", put(SCENE, "samples", value=3), "error",
        "samples is 3, expected a list"),
    row("wrong type", "a calibration's name that is a list",
        put(SCENE, "samples", AT, "calibration_key", value=["cal"]), "error",
        "calibration_key is ['cal'], expected a str"),
    row("wrong type", "an image's height in words",
        put(SCENE, "data", 0, "datum", "image", "height", value="tall"), "error",
        "intrinsics or size of CAMERA_01 are no numbers"),
    row("wrong type", "a lens that is not known here", put(CALIBRATION, *LENS, "fov", value=3.1),
        "error", "CAMERA_01 has a lens model not known here: ['fov']"),
)  # fmt: skip
WRONG_UNIT = (
    row("wrong unit", "poses in millimetres", scale_poses(1e3), "error",
        "m/s, expected 100 m/s at most; wrong unit of time or length?"),
    row("wrong unit", "a camera's place on the car in millimetres",
        put(CALIBRATION, "extrinsics", 1, "translation", value=offset(2000.0)), "error",
        "camera CAMERA_01 lies 2000 m from the car's origin"),
    row("wrong unit", "the LiDAR's place on the car in millimetres",
        put(CALIBRATION, "extrinsics", 0, "translation", value=offset(1000.0)), "error",
        "LIDAR lies 1000 m from the car's origin"),
    row("wrong unit", "a focal length in millimetres", put(CALIBRATION, *LENS, "fx", value=0.005),
        "error", "expected fx and fy of 1.2 to 2400 pixels"),
    row("wrong unit", "intrinsics of a larger image", put(CALIBRATION, *LENS, "cx", value=47.5),
        "error", "expected cx, cy in the image of 24 x 16"),
    row("wrong unit", "points in millimetres", to_file(cloud, save(1000 * whole())), "repair",
        "a point lies 19000 m off", **BLIND),
)  # fmt: skip
OUT_OF_RANGE = (
    row("out of range", "one camera's pose 1 km off its frame's", pose(offset(1012.5)), "repair",
        "CAMERA_01: left out: its pose puts the car 1e+03 m off", **LOST),
    row("out of range", "one camera's time half a minute off",
        put(SCENE, *TIME, value="2020-01-01T00:00:30Z"), "repair",
        "CAMERA_01: left out: its time is 29 s off the frame's", **LOST),
    row("out of range", "a pose beyond the Earth", pose(offset(1e9)), "repair",
        "CAMERA_01: left out: ...farther off than any on Earth", **LOST),
    row("out of range", "a turn of zero length", pose(turn={**STILL, "qw": 0.0}), "repair",
        "CAMERA_01: left out: ...has length 0, expected 1", **LOST),
    row("out of range", "a time before 1970", put(SCENE, *TIME, value="1960-01-01T00:00:00Z"),
        "error", "timestamp '1960-01-01T00:00:00Z' is before 1970"),
    row("out of range", "an infinite height of images",
        put(SCENE, "data", 0, "datum", "image", "height", value=np.inf), "error",
        "intrinsics or size of CAMERA_01 are no numbers"),
    row("out of range", "a focal length of 400 digits",
        put(CALIBRATION, *LENS, "fx", value=harms.HUGE), "error",
        "intrinsics or size of CAMERA_01 are no numbers"),
    row("out of range", "a focal length of 0", put(CALIBRATION, *LENS, "fx", value=0.0), "error",
        "camera CAMERA_01 has no usable K"),
    row("out of range", "an image of another size than the tables say",
        to_file(image, harms.put(harms.image_of((10, 20)))), "repair",
        "the image is (10, 20) (h, w), the tables say (16, 24)", **LOST),
)  # fmt: skip
NOT_A_NUMBER = (
    row("NaN", "a pose's place", pose(offset(np.nan)), "repair",
        "CAMERA_01: left out: ...expected 4 + 3 finite numbers", **LOST),
    row("NaN", "intrinsics", put(CALIBRATION, *LENS, "cx", value=np.nan), "error",
        "camera CAMERA_01 has no usable K"),
    row("NaN", "a calibration's turn", put(CALIBRATION, "extrinsics", 1, "rotation", "qx",
        value=np.nan), "error", "expected a finite unit wxyz quaternion"),
    row("NaN", "a point of a cloud", to_file(cloud, save(with_nan())), "repair",
        "lidar: 1 of 5 points are not finite and were dropped", thinned=AT),
)  # fmt: skip
DUPLICATED = (
    row("duplicated", "a datum's key", rewrite(SCENE, lambda scene: scene["data"].append(
        scene["data"][0])), "error", "data holds keys twice ('CAMERA_010')"),
    row("duplicated", "a calibration's name", put(CALIBRATION, "names", 2, value=FRONT), "error",
        "holds names twice ('CAMERA_01')"),
    row("duplicated", "a sensor in a sample", put(SCENE, "samples", AT, "datum_keys",
        value=[f"{FRONT}0", f"{FRONT}1", f"LIDAR{AT}"]), "error",
        "a sample names several data of one sensor"),
    row("duplicated", "an image that two samples name",
        put(SCENE, "data", IMAGE, "datum", "image", "filename", value="rgb/0.jpg"), "repair",
        "CAMERA_01: left out: the tables name 0.jpg more than once",
        lost=((0, FRONT), (1, FRONT))),
    row("duplicated", "a sample", rewrite(SCENE, lambda scene: scene["samples"].append(
        scene["samples"][2])), "error", "frames of scene 000007 run backwards in time"),
)  # fmt: skip
UNSORTED = (
    row("unsorted", "the rows of `data`", rewrite(SCENE, lambda scene: scene["data"].reverse()),
        "same", ""),
    row("unsorted", "samples", rewrite(SCENE, swap_samples), "error", "run backwards in time"),
)  # fmt: skip
HOSTILE = (
    row("hostile", "a file name that leads out of the root", put(SCENE, "data", IMAGE, "datum",
        "image", "filename", value="../../../etc/passwd"), "error", "outside of", UnsafePathError),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, image(root)), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a calibration outside of the root",
        put(SCENE, "samples", AT, "calibration_key", value="../../../cal"), "error",
        "outside of", UnsafePathError),
    row("hostile", "a scene outside of the root",
        put("ddad.json", "scene_splits", "1", "filenames", value=["../../000007/s.json"]),
        "error", "outside of", UnsafePathError),
    row("hostile", "a scene folder named by a terminal's commands",
        put("ddad.json", "scene_splits", "1", "filenames", value=[SCENE, "\x1b[2J/s.json"]),
        "error", "scene id '\\x1b[2J' of ...can not name a folder", UnsafePathError),
    row("hostile", "an archive that is encrypted", to_file(cloud, lock), "repair",
        "the point cloud can not be read: ...encrypted, password required", **BLIND),
    row("hostile", "an archive that claims 28 PiB",
        to_file(cloud, archive(claiming("(1000000000000000, 4)"))), "repair",
        "the point cloud can not be read", **BLIND),
    row("hostile", "an archive that claims more rows than any number",
        to_file(cloud, archive(claiming("(9999999999999999999999, 4)"))), "repair",
        "the point cloud can not be read", **BLIND),
    row("hostile", "an archive whose header does not end",
        to_file(cloud, archive(claiming("(5, "))), "repair",
        "the point cloud can not be read", **BLIND),
    row("hostile", "an archive that inflates to 300 MB", to_file(cloud, inflate), "repair",
        "it inflates to 314572800 bytes, expected 268435456 at most", **BLIND),
    row("hostile", "an archive with a pickle",
        to_file(cloud, save(np.array([[{"a": 1}] * 4], dtype=object))), "repair",
        "Object arrays cannot be loaded when allow_pickle=False", **BLIND),
    row("hostile", "an image of 30000 x 30000", to_file(image, harms.put(harms.bomb_png())),
        "repair", "the image is (30000, 30000) (h, w)", **LOST),
    row("hostile", "a scene's file nested 100000 deep",
        to_file(in_root(SCENE), harms.put(harms.NESTED)), "error", "is no valid JSON"),
)  # fmt: skip
FAULTS = (
    *MISSING, *TRUNCATED, *WRONG_TYPE, *WRONG_UNIT, *OUT_OF_RANGE, *NOT_A_NUMBER, *DUPLICATED,
    *UNSORTED, *HOSTILE,
)  # fmt: skip
