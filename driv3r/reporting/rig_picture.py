"""Pictures of a rig: from above, from the side, and road and LiDAR in the cameras' images."""

import base64
import dataclasses
import html
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.geometry.cameras import project, unproject
from driv3r.geometry.pinholes import looked_at
from driv3r.geometry.transforms import apply, invert
from driv3r.reporting.images import DEPTH_COLOURS, apply_colormap
from driv3r.types import Camera, Rig

PIXELS_A_M, MARGIN_M, VIEW_M = 80, 3.0, 2.5
INK, GRID, ROAD = (40, 40, 40), (225, 225, 225), (110, 85, 60)
PALETTE = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 150, 170),
    (140, 86, 75), (227, 119, 194), (127, 127, 127), (160, 160, 30),
)  # fmt: skip
ROAD_LINES_M = (2.0, 5.0, 10.0, 20.0, 40.0)
NEAR_M, FAR_M = 2.0, 80.0
OVERLAY_PX = 640
STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:1000px;margin:1em auto;padding:0 1em;"
    "background:#fff;color:#222}img{max-width:100%}figure{margin:1em 0}"
)
Pixel = tuple[int, int]


class _Sheet:
    """A drawing in metres of two axes of the ego frame; the second points up the picture."""

    def __init__(self, axes: tuple[int, int], low_m: Sequence[float], high_m: Sequence[float]):
        self.axes = axes
        self.low_m, self.high_m = np.array(low_m), np.array(high_m)
        width, height = np.ceil((self.high_m - self.low_m) * PIXELS_A_M).astype(int)
        self.image = np.full((height, width, 3), 255, np.uint8)
        for axis in (0, 1):
            for metre in range(int(np.ceil(low_m[axis])), int(high_m[axis]) + 1):
                ends = np.array([self.low_m, self.high_m])
                ends[:, axis] = metre
                self.line(ends[0], ends[1], INK if metre == 0 else GRID)

    def pixel(self, at_m: Float[np.ndarray, "2"]) -> Pixel:
        u, v = (at_m - self.low_m) * PIXELS_A_M
        return int(round(u)), int(round(self.image.shape[0] - v))

    def line(self, a_m: np.ndarray, b_m: np.ndarray, colour: tuple[int, ...], width: int = 1):
        cv2.line(self.image, self.pixel(a_m), self.pixel(b_m), colour, width, cv2.LINE_AA)

    def text(self, at_m: np.ndarray, words: str, colour: tuple[int, ...] = INK) -> None:
        u, v = self.pixel(at_m)
        (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        place = (u - width // 2, v - 6)
        cv2.putText(
            self.image, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA
        )

    def fan(self, camera: Camera, colour: tuple[int, ...], label: str = "") -> None:
        """What the camera sees of the drawing's plane, paled, and the camera."""
        place_m = camera.ego_T_cam[list(self.axes), 3]
        edge = _edge_rays(camera) @ camera.ego_T_cam[list(self.axes), :3].T
        ends = [self.pixel(place_m + VIEW_M * ray) for ray in edge]
        hull = cv2.convexHull(np.array([self.pixel(place_m), *ends], np.int32))
        over = self.image.copy()
        cv2.fillPoly(over, [hull], colour)
        self.image = cv2.addWeighted(over, 0.18, self.image, 0.82, 0)
        cv2.polylines(self.image, [hull], True, colour, 1, cv2.LINE_AA)
        cv2.circle(self.image, self.pixel(place_m), 4, colour, -1, cv2.LINE_AA)
        self.text(place_m + 0.55 * VIEW_M * camera.ego_T_cam[list(self.axes), 2], label, colour)


def _edge_rays(camera: Camera) -> Float[np.ndarray, "4 3"]:
    """Unit rays of the corners of what is looked at."""
    camera = looked_at(camera)
    height, width = camera.size_hw
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    rays = unproject(camera, corners)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def draw_rig(rig: Rig) -> UInt8[np.ndarray, "h w 3"]:
    """The rig from above (forward is up) and from the left, below each other, with a grid of 1 m.

    Each camera's fan reaches 2.5 m; the road is brown. Colours are the same in both.
    """
    places_m = np.stack([camera.ego_T_cam[:3, 3] for camera in rig.cameras])
    if rig.ego_T_lidar is not None:
        places_m = np.vstack([places_m, rig.ego_T_lidar[:3, 3]])
    places_m = np.vstack([places_m, [0, 0, rig.ground_z_m]])
    low_m, high_m = places_m.min(axis=0) - MARGIN_M, places_m.max(axis=0) + MARGIN_M
    low_m[2], high_m[2] = rig.ground_z_m - 1.0, places_m[:, 2].max() + 1.5
    # From above: across is -y, so that left is left.
    above = _Sheet((0, 1), [-high_m[1], low_m[0]], [-low_m[1], high_m[0]])
    side = _Sheet((0, 2), low_m[[0, 2]].tolist(), high_m[[0, 2]].tolist())
    side.line(np.array([low_m[0], rig.ground_z_m]), np.array([high_m[0], rig.ground_z_m]), ROAD, 3)
    for i, camera in enumerate(rig.cameras):
        colour = PALETTE[i % len(PALETTE)]
        _fan_from_above(above, camera, colour)
        side.fan(camera, colour)
    if rig.ego_T_lidar is not None:
        x, y, z = rig.ego_T_lidar[:3, 3]
        for sheet, at_m in ((above, np.array([-y, x])), (side, np.array([x, z]))):
            cv2.drawMarker(sheet.image, sheet.pixel(at_m), INK, cv2.MARKER_TILTED_CROSS, 12, 2)
            sheet.text(at_m, "lidar")
    for sheet, words in ((above, "from above, forward up, 1 m grid"), (side, "from the left")):
        cv2.putText(sheet.image, words, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return _stack([above.image, side.image])


def _fan_from_above(sheet: _Sheet, camera: Camera, colour: tuple[int, ...]) -> None:
    """A fan on axes (-y, x): the camera in an ego frame that is turned so."""
    turned = camera.ego_T_cam.copy()
    turned[0], turned[1] = -camera.ego_T_cam[1], camera.ego_T_cam[0]
    sheet.fan(dataclasses.replace(camera, ego_T_cam=turned), colour, camera.name)


def _stack(images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    width = max(image.shape[1] for image in images)
    rows = [
        np.pad(image, ((0, 6), (0, width - image.shape[1]), (0, 0)), constant_values=255)
        for image in images
    ]
    return np.vstack(rows)


def draw_overlay(
    rig: Rig,
    view: int,
    image: UInt8[np.ndarray, "h w 3"],
    points_ego: Float[np.ndarray, "n 3"] | None = None,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A camera's image with the flat road's lines (rings of 2 to 40 m, every 30 degrees a spoke)
    and LiDAR points, coloured by depth (2 m warm, 80 m cool).

    Lines that do not lie on the road, or points beside the edges of things, tell of a wrong place,
    turn or lens.
    """
    camera, canvas = rig.cameras[view], image.copy()
    thick = max(1, round(image.shape[1] / 640))
    cam_T_ego = invert(camera.ego_T_cam)
    for line in _road_lines(rig.ground_z_m):
        uv, _, inside = project(camera, apply(cam_T_ego, line))
        for a, b, seen in zip(uv[:-1], uv[1:], inside[:-1] & inside[1:], strict=True):
            if seen:
                ends = [tuple(np.round(end).astype(int).tolist()) for end in (a, b)]
                cv2.line(canvas, ends[0], ends[1], (255, 220, 0), thick, cv2.LINE_AA)
    if points_ego is not None:
        uv, depth_m, inside = project(camera, apply(cam_T_ego, points_ego.astype(np.float64)))
        share = np.log(np.maximum(depth_m, NEAR_M) / NEAR_M) / np.log(FAR_M / NEAR_M)
        colours = apply_colormap(share, DEPTH_COLOURS)
        for i in np.flatnonzero(inside)[np.argsort(-depth_m[inside])]:
            u, v = np.floor(uv[i]).astype(int).tolist()
            cv2.circle(canvas, (u, v), thick, colours[i].tolist(), -1)
    height = round(image.shape[0] * OVERLAY_PX / image.shape[1])
    return cv2.resize(canvas, (OVERLAY_PX, height), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def _road_lines(ground_z_m: float) -> list[Float[np.ndarray, "k 3"]]:
    turn = np.radians(np.arange(0.0, 361.0, 1.0))
    around = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    flat = [radius_m * around for radius_m in ROAD_LINES_M]
    reach_m = np.geomspace(ROAD_LINES_M[0], ROAD_LINES_M[-1], 60)[:, None]
    flat += [reach_m * spoke for spoke in around[:-1:30]]
    return [np.c_[xy, np.full(len(xy), ground_z_m)] for xy in flat]


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """An RGB image as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def make_page(
    title: str,
    facts: Sequence[str],
    findings: Sequence[str],
    pictures: Sequence[tuple[str, UInt8[np.ndarray, "_ _ 3"]]],
) -> str:
    """One HTML page that needs nothing else: findings first, then pictures and facts."""
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in findings) or "<li>nothing</li>"
    figures = "".join(
        f"<figure><img alt='{html.escape(name)}' src='data:image/png;base64,"
        f"{base64.b64encode(encode_png(image)).decode()}'><figcaption>{html.escape(name)}"
        "</figcaption></figure>"
        for name, image in pictures
    )
    told = "".join(f"<li>{html.escape(line)}</li>" for line in facts)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width'><title>{html.escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><h2>What looks wrong</h2>"
        f"<ul>{rows}</ul><h2>The rig</h2><ul>{told}</ul>{figures}</html>"
    )
