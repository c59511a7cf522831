"""The table of image files: which are read, as what, and which are refused by name."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from driv3r.datasets import open_dataset
from driv3r.datasets.images import decode_image
from driv3r.errors import DatasetError
from tests.datasets import tiny_folder

SIZE_HW = (32, 48)


def picture() -> np.ndarray:
    """Smooth, so that lossy kinds keep it; no two quarters alike, so that turns show."""
    small = np.random.default_rng(0).integers(20, 235, (4, 6, 3), np.uint8)
    return cv2.resize(small, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)


RGB = picture()
GREY = np.array(Image.fromarray(RGB).convert("L"))


def written(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """By Pillow, which shares no code with the reader."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def with_alpha(kind: str, **options: object) -> bytes:
    """Colours below an alpha of zero."""
    buffer = io.BytesIO()
    clear = np.dstack([RGB, np.zeros(SIZE_HW, np.uint8)])
    Image.fromarray(clear).save(buffer, kind, **options)
    return buffer.getvalue()


def words(*channels: np.ndarray) -> bytes:
    """A PNG of 16 bits, whose upper 8 are the picture."""
    deep = np.dstack(channels).astype(np.uint16) * 256 + 7
    return cv2.imencode(".png", deep[..., ::-1])[1].tobytes()


READ: dict[str, tuple[bytes, np.ndarray, int]] = {  # bytes, what they show, how far off that may be
    "JPEG": (written("JPEG", quality=98), RGB, 8),
    "JPEG, progressive": (written("JPEG", quality=98, progressive=True), RGB, 8),
    "JPEG, grey": (written("JPEG", "L", quality=98), GREY, 4),
    "PNG": (written("PNG"), RGB, 0),
    "PNG, grey": (written("PNG", "L"), GREY, 0),
    "PNG, grey and alpha": (written("PNG", "LA"), GREY, 0),
    "PNG, palette": (
        written("PNG", "P"), np.array(Image.fromarray(RGB).convert("P").convert("RGB")), 0,
    ),
    "PNG, RGBA": (with_alpha("PNG"), RGB, 0),
    "PNG, 16 bits": (words(RGB), RGB, 1),
    "PNG, 16 bits, grey": (words(GREY), GREY, 1),
    "WebP": (written("WEBP", quality=98), RGB, 12),
    "WebP, lossless": (written("WEBP", lossless=True), RGB, 0),
    "WebP, RGBA": (with_alpha("WEBP", lossless=True, exact=True), RGB, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_is_read_as_rgb(name: str) -> None:
    data, expected, atol = READ[name]
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    shown = decode_image(data, SIZE_HW, "a")
    assert shown.dtype == np.uint8
    np.testing.assert_allclose(shown.astype(int), expected.astype(int), atol=atol)


def exif(orientation: int, order: str = ">") -> bytes:
    """A TIFF structure with the one tag, by hand."""
    start = b"MM\x00*" if order == ">" else b"II*\x00"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return start + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def jpeg_asking(orientation: int, order: str = ">", data: bytes | None = None) -> bytes:
    data = written("JPEG", quality=98) if data is None else data
    body = b"Exif\x00\x00" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png_asking(orientation: int) -> bytes:
    data, body = written("PNG"), exif(orientation)
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    return data[:33] + chunk + data[33:]


def webp_asking(orientation: int) -> bytes:
    return written("WEBP", lossless=True, exif=exif(orientation))


def square_jpeg() -> bytes:
    return cv2.imencode(".jpg", RGB[:, :32])[1].tobytes()


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", [0, 1, 5, 6, 7, 8, 9, 400])
def test_turned_size_says_that_calibration_is_of_the_stored_image(
    orientation: int, order: str
) -> None:
    """A camera of 48 x 32 is not that of an image shown as 32 x 48: no doubt, so it is read."""
    data = jpeg_asking(orientation, order)
    np.testing.assert_array_equal(
        decode_image(data, SIZE_HW, "a"), decode_image(READ["JPEG"][0], SIZE_HW, "a")
    )


@pytest.mark.parametrize("asking", [jpeg_asking, png_asking, webp_asking])
@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_turns_that_keep_the_size_are_refused(
    asking: Callable[[int], bytes], orientation: int
) -> None:
    with pytest.raises(DatasetError, match=rf"Exif asks .*orientation {orientation}.*exiftool"):
        decode_image(asking(orientation), SIZE_HW, "a")


def test_a_turned_square_is_refused_and_a_turned_size_told() -> None:
    with pytest.raises(DatasetError, match="nothing tells whether the calibration"):
        decode_image(jpeg_asking(6, data=square_jpeg()), (32, 32), "a")
    with pytest.raises(DatasetError, match=r"\(32, 48\).* say \(48, 32\).*asks for a turn"):
        decode_image(jpeg_asking(6), (48, 32), "a")


@pytest.mark.parametrize("cut", range(0, 27, 3))
def test_broken_exif_asks_for_nothing(cut: int) -> None:
    body = b"Exif\x00\x00" + exif(3)[:cut]
    data = READ["JPEG"][0]
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    if cut >= 22:  # the tag is whole
        with pytest.raises(DatasetError, match="Exif"):
            decode_image(data, SIZE_HW, "a")
        return
    assert decode_image(data, SIZE_HW, "a").shape == (*SIZE_HW, 3)


def animation() -> bytes:
    other = Image.fromarray(RGB[::-1].copy())
    return written("WEBP", save_all=True, append_images=[other])


def jpeg_of(size_wh: tuple[int, int], pad: bytes = b"") -> bytes:
    """A JPEG that claims a size; `pad` lies between its segments, which libjpeg skips."""
    data = READ["JPEG"][0]
    at = data.index(b"\xff\xc0")
    claim = struct.pack(">HH", size_wh[1], size_wh[0])
    return data[:at] + pad + data[at : at + 5] + claim + data[at + 9 :]


def png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"".join([
        b"\x89PNG\r\n\x1a\n", struct.pack(">I", 13), chunk, struct.pack(">I", zlib.crc32(chunk)),
        written("PNG")[33:],
    ])  # fmt: skip


def webp_of(width: int, height: int) -> bytes:
    data = READ["WebP, lossless"][0]
    return data[:21] + struct.pack("<I", (height - 1) << 14 | (width - 1)) + data[25:]


def spoiled(data: bytes, at: float) -> bytes:
    place = int(at * len(data))
    return data[:place] + bytes(b ^ 0x55 for b in data[place : place + 4]) + data[place + 4 :]


REFUSED: dict[str, tuple[bytes, str]] = {
    "JPEG, CMYK": (written("JPEG", "CMYK"), "the JPEG is CMYK.*convert it: a"),
    "JPEG, cut": (READ["JPEG"][0][:-200], "cut short"),
    "JPEG bomb": (jpeg_of((65500, 65500)), r"\(65500, 65500\) \(h, w\), the tables say"),
    "JPEG bomb behind stray bytes": (jpeg_of((65500, 65500), b"stray"), r"\(65500, 65500\)"),
    "JPEG without a size": (READ["JPEG"][0].replace(b"\xff\xc0", b"\xff\xcc"), "tells no size"),
    "PNG bomb": (png_of(2**31 - 1, 2**31 - 1), r"\(2147483647, 2147483647\)"),
    "PNG, cut": (READ["PNG"][0][:-20], "cut short"),
    "PNG, CRC": (spoiled(READ["PNG"][0], 0.5), "does not decode"),
    "WebP bomb": (webp_of(16383, 16383), r"\(16383, 16383\)"),
    "WebP, cut": (READ["WebP"][0][:-20], "cut short"),
    "WebP, lossless, cut": (READ["WebP, lossless"][0][:-20], "cut short"),
    "WebP, only its start": (READ["WebP"][0][:18], "cut short"),
    "WebP, animated": (animation(), "is an animation.*files of their own"),
    "GIF": (written("GIF"), "neither JPEG nor PNG.*GIF87a.*convert"),
    "TIFF": (written("TIFF"), "neither JPEG nor PNG"),
    "BMP": (written("BMP"), "neither JPEG nor PNG"),
    "JPEG 2000": (written("JPEG2000"), "neither JPEG nor PNG"),
    "nothing": (b"", "neither JPEG nor PNG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_name(name: str) -> None:
    data, says = REFUSED[name]
    with pytest.raises(DatasetError, match=says):
        decode_image(data, SIZE_HW, "a")


@pytest.mark.parametrize("name", READ)
def test_any_cut_and_any_noise_is_refused_or_read_at_its_size(name: str) -> None:
    data, rng = READ[name][0], np.random.default_rng(1)
    for length in rng.integers(0, len(data) - 13, 30).tolist():
        with pytest.raises(DatasetError):
            decode_image(data[:length], SIZE_HW, "a")
    for at in rng.random(60).tolist():
        try:
            assert decode_image(spoiled(data, at), SIZE_HW, "a").shape == (*SIZE_HW, 3)
        except DatasetError:
            continue


@pytest.mark.skipif(not features.check("avif"), reason="Pillow here writes no AVIF")
def test_avif_is_read_or_refused_with_the_remedy() -> None:
    data = written("AVIF", quality=95)
    with pytest.raises(DatasetError, match=r"\(32, 48\) \(h, w\), the tables say \(9, 9\)"):
        decode_image(data, (9, 9), "a")
    with pytest.raises(DatasetError, match="cut short"):
        decode_image(data[:-30], SIZE_HW, "a")
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
        with pytest.raises(DatasetError, match="without AVIF: convert the images to PNG, JPEG"):
            decode_image(data, SIZE_HW, "a")
    else:
        np.testing.assert_allclose(decode_image(data, SIZE_HW, "a"), RGB, atol=12)


def test_a_folder_of_webp_is_a_log(tmp_path: Path) -> None:
    log = tiny_folder.write(tmp_path / "drive")
    for path in (log / "images").glob("*/*.png"):
        image = cv2.imread(str(path))
        cv2.imwrite(str(path.with_suffix(".webp")), image, [cv2.IMWRITE_WEBP_QUALITY, 101])
        path.unlink()
    frame = open_dataset("folder", log).read("drive").frames[0]
    assert frame.repairs == ()
    assert frame.views[0] is not None
    np.testing.assert_array_equal(frame.views[0].image, tiny_folder.image(0))
