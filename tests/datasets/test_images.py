"""Images off disk: what a JPEG may not hold and a PNG may, and how deep its words are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from driv3r.datasets.images import read_image
from driv3r.errors import DatasetError

SIZE_HW = (32, 48)


def noise(shape: tuple[int, ...], bits: int) -> np.ndarray:
    values = np.random.default_rng(bits).integers(0, 2**bits, shape)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def test_a_png_may_end_in_grey_but_no_jpeg(tmp_path: Path) -> None:
    image = noise((*SIZE_HW, 3), 8)
    image[16:, 32:] = 128
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SIZE_HW), image)
    cv2.imwrite(str(tmp_path / "a.jpg"), image[..., ::-1])
    with pytest.raises(DatasetError, match="last blocks are lost"):
        read_image(tmp_path / "a.jpg", SIZE_HW)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("bits", [10, 12])
def test_fewer_bits_in_16_bit_words_are_refused(
    tmp_path: Path, channels: tuple[int, ...], bits: int
) -> None:
    path = tmp_path / "a.png"
    image = noise((*SIZE_HW, *channels), bits)
    if channels == (4,):
        image[..., 3] = 65535  # opaque: no value of the picture itself
    cv2.imwrite(str(path), image)
    with pytest.raises(DatasetError, match=r"16-bit PNG's largest value is \d+, expected 4096"):
        read_image(path, SIZE_HW)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_true_16_bit_pngs_are_read(tmp_path: Path, channels: tuple[int, ...]) -> None:
    path = tmp_path / "a.png"
    words = noise((*SIZE_HW, *channels), 16)
    cv2.imwrite(str(path), words)
    upper = (words >> 8).astype(np.uint8)
    expected = np.stack([upper] * 3, -1) if not channels else upper[..., 2::-1]
    np.testing.assert_allclose(read_image(path, SIZE_HW), expected, atol=1)


def test_a_dark_8_bit_png_is_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((*SIZE_HW, 3), 3, np.uint8))
    assert (read_image(tmp_path / "a.png", SIZE_HW) == 3).all()
