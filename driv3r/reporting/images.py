"""The report's pictures: depth, error and motion beside the image, one sheet a surround frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.errors import ConfigError

GREY = np.array([128, 128, 128], np.uint8)  # no depth, no prediction
NEAR_M, FAR_M = 2.0, 80.0
WORST = 0.5  # relative error at the red end
MOVING_RGB = np.array([255, 60, 20], float)
COLUMNS = ("image", "depth", "error against LiDAR", "motion")
TILE_PX, GAP_PX, MARGIN_PX, STRIP_PX = 440, 6, 26, 30
BAR_PX = 9
TEXT_GAP_PX = 4
INK, PAPER = 40, 255

# Near is warm and far is cool, as most depth pictures have it.
DEPTH_COLOURS = np.ascontiguousarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[::-1, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
)
_STOPS = np.array(
    [[60, 140, 255], [205, 230, 255], [255, 224, 130], [248, 132, 70], [205, 15, 30]], float
)
ERROR_COLOURS = np.stack(
    [np.interp(np.linspace(0, 4, 256), np.arange(5), _STOPS[:, c]) for c in range(3)], axis=-1
).astype(np.uint8)


def apply_colormap(
    share: Float[np.ndarray, "*b"], colours: UInt8[np.ndarray, "k 3"]
) -> UInt8[np.ndarray, "*b 3"]:
    """Colours of 0..1 (clipped) along a row of colours, NaN grey."""
    index = np.round(np.clip(np.nan_to_num(share), 0, 1) * (len(colours) - 1)).astype(int)
    return np.where(np.isnan(share)[..., None], GREY, colours[index])


def colour_depth(
    depth_m: Float[np.ndarray, "h w"], near_m: float = NEAR_M, far_m: float = FAR_M
) -> UInt8[np.ndarray, "h w 3"]:
    """Depth as colour, equal steps in log depth; grey where it is NaN or not positive.

    Raises ConfigError unless 0 < near_m < far_m.
    """
    if not 0 < near_m < far_m:
        raise ConfigError(f"depth colours from {near_m} to {far_m} m; expected 0 < near_m < far_m")
    known_m = np.where(depth_m > 0, depth_m, np.nan)
    return apply_colormap(np.log(known_m / near_m) / np.log(far_m / near_m), DEPTH_COLOURS)


def colour_error(
    uv: Float[np.ndarray, "n 2"],
    truth_m: Float[np.ndarray, "n"],
    predicted_m: Float[np.ndarray, "n"],
    image: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """LiDAR points as dots on the darkened image, coloured by |g - p| / g: blue 0, red 50 %.

    Nearer dots cover farther ones; grey where there is no prediction.
    """
    known = truth_m > 0
    share = np.abs(predicted_m - truth_m) / np.where(known, truth_m, 1.0) / WORST
    colours = apply_colormap(np.where(known, share, np.nan), ERROR_COLOURS)
    h, w = image.shape[:2]
    canvas = (image * 0.35).astype(np.uint8)
    far_first = np.argsort(-truth_m, kind="stable")
    columns, rows = np.floor(uv[far_first]).astype(int).T
    radius = max(1, round(w / 400))
    steps = np.arange(-radius, radius + 1)
    # Point by point, not offset by offset: a near dot must cover all of a far one.
    dv, du = (offset.ravel() for offset in np.meshgrid(steps, steps, indexing="ij"))
    disc = dv**2 + du**2 <= radius**2 + 0.5
    v, u = (rows[:, None] + dv[disc]).ravel(), (columns[:, None] + du[disc]).ravel()
    inside = (v >= 0) & (v < h) & (u >= 0) & (u < w)
    canvas[v[inside], u[inside]] = np.repeat(colours[far_first], disc.sum(), axis=0)[inside]
    return canvas


def colour_motion(
    image: UInt8[np.ndarray, "h w 3"], probability: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, paled, with what moves in red by its probability and an outline at one half."""
    known = np.clip(np.nan_to_num(probability), 0, 1)
    grey = image.mean(axis=-1, keepdims=True)
    pale = 0.55 * image + 0.45 * (0.6 * grey + 60)
    blended = pale + 0.7 * known[..., None] * (MOVING_RGB - pale)
    canvas = np.ascontiguousarray(np.clip(blended, 0, 255).astype(np.uint8))
    moving = (known >= 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(image.shape[1] / 600))
    cv2.drawContours(canvas, outlines, -1, (255, 235, 60), thickness)
    return canvas


def compose_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]],
    labels: Sequence[str],
    columns: Sequence[str] = COLUMNS,
    near_m: float = NEAR_M,
    far_m: float = FAR_M,
) -> UInt8[np.ndarray, "h w 3"]:
    """One labelled row a camera, titled columns, and the colours' meaning under each column.

    Pictures are brought to one width. `columns` names as many as the widest row has, in order;
    `near_m` and `far_m` are those given to `colour_depth`. Raises ConfigError on no pictures, or
    more rows than labels or pictures than columns.
    """
    across = max((len(row) for row in rows), default=0)
    if across == 0 or len(rows) != len(labels) or across > len(columns):
        raise ConfigError(
            f"a sheet of {len(rows)} rows of up to {across} pictures with {len(labels)} labels and "
            f"{len(columns)} column titles; give a label a row, a title a column, one picture"
        )
    tile_px = min(TILE_PX, max(picture.shape[1] for row in rows for picture in row))
    width_px = MARGIN_PX + across * (tile_px + GAP_PX)
    bands = [_title_band(columns[:across], tile_px, width_px)]
    bands += [
        _camera_band(row, label, tile_px, width_px) for row, label in zip(rows, labels, strict=True)
    ]
    bands.append(_legend_band(columns[:across], tile_px, width_px, near_m, far_m))
    return np.concatenate(bands)


def encode_jpeg(rgb: UInt8[np.ndarray, "h w 3"], quality: int = 85) -> bytes:
    """The bytes of a JPEG file."""
    # Full chroma resolution, or the small coloured dots lose their colour.
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), options)
    return encoded.tobytes()


def draw_text(
    canvas: UInt8[np.ndarray, "h w 3"], text: str, height_px: int, left_top: tuple[int, int]
) -> None:
    """A line of text in ink onto a canvas, cut at its edges."""
    _blend_text(canvas, _draw_text(text, height_px), left_top[1], left_top[0])


def _left_of(column: int, tile_px: int) -> int:
    return MARGIN_PX + column * (tile_px + GAP_PX)


def _title_band(columns: Sequence[str], tile_px: int, width_px: int) -> np.ndarray:
    band = np.full((STRIP_PX, width_px, 3), PAPER, np.uint8)
    for column, title in enumerate(columns):
        mask = _draw_text(title, 13)
        _blend_text(band, mask, (STRIP_PX - mask.shape[0]) // 2, _left_of(column, tile_px))
    return band


def _camera_band(row: Sequence[np.ndarray], label: str, tile_px: int, width_px: int) -> np.ndarray:
    """The label, read upwards, and the row's pictures at one width."""
    tiles = [_fit(picture, tile_px) for picture in row]
    height = max((tile.shape[0] for tile in tiles), default=STRIP_PX)
    band = np.full((height + GAP_PX, width_px, 3), PAPER, np.uint8)
    mask = np.rot90(_draw_text(label, 13))[-height:]
    _blend_text(band, mask, (height - mask.shape[0]) // 2, (MARGIN_PX - mask.shape[1]) // 2)
    for column, tile in enumerate(tiles):
        left = _left_of(column, tile_px)
        band[: tile.shape[0], left : left + tile_px] = tile
    return band


def _legend_band(
    columns: Sequence[str], tile_px: int, width_px: int, near_m: float, far_m: float
) -> np.ndarray:
    """Colour bars with their ticks under the columns that have a meaning to explain."""
    band = np.full((STRIP_PX + 4, width_px, 3), PAPER, np.uint8)
    depths_m = [m for m in (1, 2, 5, 10, 20, 40, 80, 150, 200) if near_m <= m <= far_m]
    log_span = np.log(far_m / near_m)
    depth_ticks = [(float(np.log(m / near_m) / log_span), f"{m} m") for m in depths_m]
    error_ticks = [(i / 5, f"{i * 10} %") for i in range(6)]
    pale = np.array([150.0] * 3)
    reddening = np.linspace(0, 0.7, 256)[:, None] * (MOVING_RGB - pale) + pale
    legends = {
        COLUMNS[1]: (DEPTH_COLOURS, depth_ticks),
        COLUMNS[2]: (ERROR_COLOURS, error_ticks),
        COLUMNS[3]: (reddening.astype(np.uint8), [(0.0, "still"), (0.5, "0.5"), (1.0, "moving")]),
    }
    for column, title in enumerate(columns):
        if title in legends:
            _draw_bar(band, _left_of(column, tile_px), tile_px, *legends[title])
    return band


def _draw_bar(
    band: np.ndarray,
    left: int,
    length_px: int,
    colours: np.ndarray,
    ticks: Sequence[tuple[float, str]],
) -> None:
    """A colour bar into `band`, with its ticks (place 0..1, text) below, kept within the bar.

    The last text always stands; others are left out where they would touch one that does.
    """
    band[2 : 2 + BAR_PX, left : left + length_px] = apply_colormap(
        np.linspace(0, 1, length_px), colours
    )
    taken: list[tuple[int, int]] = []
    for place, text in [ticks[-1], *ticks[:-1]]:
        at = left + round(place * (length_px - 1))
        band[2 + BAR_PX : 5 + BAR_PX, at] = INK
        mask = _draw_text(text, 11)
        start = min(max(at - mask.shape[1] // 2, left), left + length_px - mask.shape[1])
        end = start + mask.shape[1]
        if all(end + TEXT_GAP_PX <= a or b + TEXT_GAP_PX <= start for a, b in taken):
            _blend_text(band, mask, 7 + BAR_PX, start)
            taken.append((start, end))


def _fit(picture: np.ndarray, width_px: int) -> np.ndarray:
    h, w = picture.shape[:2]
    how = cv2.INTER_AREA if w > width_px else cv2.INTER_LINEAR
    return cv2.resize(picture, (width_px, max(1, round(h * width_px / w))), interpolation=how)


def _draw_text(text: str, height_px: int) -> Float[np.ndarray, "h w"]:
    """A line of text as coverage 0..1, drawn at four times its size, because cv2's is coarse."""
    font, fine = cv2.FONT_HERSHEY_DUPLEX, 4
    scale = cv2.getFontScaleFromHeight(font, round(0.72 * height_px * fine), 2)
    (w, _), _ = cv2.getTextSize(text, font, scale, 4)
    canvas = np.zeros((height_px * fine + 12, max(w, 1) + 8), np.uint8)
    cv2.putText(
        canvas, text, (2, round(0.8 * height_px * fine)), font, scale, (255,), 4, cv2.LINE_AA
    )
    small = (canvas.shape[1] // fine, canvas.shape[0] // fine)
    return cv2.resize(canvas, small, interpolation=cv2.INTER_AREA) / 255.0


def _blend_text(canvas: np.ndarray, mask: np.ndarray, top: int, left: int) -> None:
    """Ink on the canvas where the mask covers, cut at the canvas's edges."""
    top, left = max(top, 0), max(left, 0)
    place = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    cover = mask[: place.shape[0], : place.shape[1], None]
    place[:] = (place * (1 - cover) + INK * cover).astype(np.uint8)
