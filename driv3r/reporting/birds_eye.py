"""The static map from above, with the driven path and the moving objects' tracks."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.store.reader import LogStore
from driv3r.types import MovingObjects, StaticMap

BACKGROUND_RGB = (14, 16, 22)
PATH_RGB = (255, 255, 255)
TRACK_RGB = (  # as in scene_view.js
    (255, 122, 60), (64, 200, 255), (255, 214, 64), (120, 235, 110), (255, 96, 160),
    (170, 140, 255), (80, 240, 210), (255, 160, 140),
)  # fmt: skip
MIN_HITS = 3
LONGEST_PX, MARGIN_M = 1400, 4.0
CEILING_M = 4.0  # over the road: roofs of tunnels and crowns of trees would hide it


@dataclass(frozen=True, eq=False)
class _Plan:
    """World to picture: x to the right, y up."""

    low_m: Float[np.ndarray, "2"]
    px_per_m: float
    size_hw: tuple[int, int]

    def place(self, points_world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Columns and rows of points."""
        u, v = ((points_world[:, :2] - self.low_m) * self.px_per_m).T
        return np.stack([u, self.size_hw[0] - 1 - v], axis=-1)


def draw_birds_eye(store: LogStore) -> UInt8[np.ndarray, "h w 3"] | None:
    """A log from above, north (y) up; None of a log that was not fused or has no place.

    Voxels higher than CEILING_M over the car's path are left out. Raises StoreError for a damaged
    log.
    """
    fused = store.reconstruction()
    world_T_ego = store.world_T_ego()
    path_world = world_T_ego[np.isfinite(world_T_ego).all((1, 2)), :3, 3]
    if fused is None or not len(path_world):
        return None
    points_world, rgb = _choose_voxels(fused.static, float(path_world[:, 2].mean()))
    plan = _fit(points_world, path_world)
    canvas = np.full((*plan.size_hw, 3), BACKGROUND_RGB, np.uint8)
    side_px = max(1, int(np.ceil(plan.px_per_m * fused.static.voxel_m)))
    uv = np.floor(plan.place(points_world) - side_px / 2).astype(int)
    for dv, du in np.ndindex(side_px, side_px):
        rows = np.clip(uv[:, 1] + dv, 0, plan.size_hw[0] - 1)
        canvas[rows, np.clip(uv[:, 0] + du, 0, plan.size_hw[1] - 1)] = rgb
    _draw_tracks(canvas, plan, fused.moving)
    _draw_way(canvas, plan, path_world, PATH_RGB, 3)
    _draw_scale_bar(canvas, plan, "10 m" if store.scale == "metric" else "about 10 m")
    return canvas


def _choose_voxels(
    static: StaticMap, road_m: float
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """Places and colours of the voxels that are drawn, the lowest first."""
    points_world = static.points_world
    kept = np.flatnonzero((static.hits >= MIN_HITS) & (points_world[:, 2] < road_m + CEILING_M))
    kept = kept[np.argsort(points_world[kept, 2], kind="stable")]
    return points_world[kept], static.rgb[kept]


def _fit(points_world: np.ndarray, path_world: np.ndarray) -> _Plan:
    """Around nearly all voxels and the whole path."""
    low_m, high_m = path_world[:, :2].min(axis=0), path_world[:, :2].max(axis=0)
    if len(points_world):
        share = np.quantile(points_world[:, :2], [0.003, 0.997], axis=0)
        low_m, high_m = np.minimum(low_m, share[0]), np.maximum(high_m, share[1])
    low_m, high_m = low_m - MARGIN_M, high_m + MARGIN_M
    px_per_m = LONGEST_PX / float((high_m - low_m).max())
    width, height = np.ceil((high_m - low_m) * px_per_m).astype(int)
    return _Plan(low_m, px_per_m, (int(height), int(width)))


def _draw_tracks(canvas: np.ndarray, plan: _Plan, moving: MovingObjects) -> None:
    """Each track's way, and its box at its last state; colours as in the 3D view."""
    for number, track_id in enumerate(np.unique(moving.track_id)):
        states = np.flatnonzero(moving.track_id == track_id)
        states = states[np.argsort(moving.time_us[states], kind="stable")]
        rgb = TRACK_RGB[number % len(TRACK_RGB)]
        _draw_way(canvas, plan, moving.world_T_object[states, :3, 3], rgb, 2)
        corners = np.array([[1, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]]) / 2
        last = moving.world_T_object[states[-1]]
        corners_world = corners * moving.size_m[track_id] @ last[:3, :3].T + last[:3, 3]
        _draw_line(canvas, plan.place(corners_world), rgb, 2, closed=True)


def _draw_way(
    canvas: np.ndarray, plan: _Plan, places: np.ndarray, rgb: tuple[int, ...], px: int
) -> None:
    uv = plan.place(places)
    _draw_line(canvas, uv, rgb, px, closed=False)
    for place in uv:
        cv2.circle(canvas, np.rint(place).astype(int).tolist(), px + 1, rgb, -1, cv2.LINE_AA)


def _draw_line(
    canvas: np.ndarray, uv: np.ndarray, rgb: tuple[int, ...], px: int, closed: bool
) -> None:
    line = np.rint(uv * 16).astype(np.int32)[None]
    cv2.polylines(canvas, line, closed, rgb, px, cv2.LINE_AA, shift=4)


def _draw_scale_bar(canvas: np.ndarray, plan: _Plan, text: str) -> None:
    """A bar of 10 m in the lower left corner."""
    height = plan.size_hw[0]
    end = 16 + round(10 * plan.px_per_m)
    cv2.line(canvas, (16, height - 16), (end, height - 16), PATH_RGB, 3, cv2.LINE_AA)
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(canvas, text, (16, height - 26), font, 0.6, PATH_RGB, 1, cv2.LINE_AA)
