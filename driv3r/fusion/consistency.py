"""Multi-view consistency: what other views, before, beside and after, say of a frame's pixels."""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from driv3r.fusion.frames import FrameWindow, FusedFrame, FusionConfig
from driv3r.geometry.cameras import cached_rays, unproject
from driv3r.geometry.rolling_shutter import place_image_lines
from driv3r.geometry.transforms import apply, invert
from driv3r.kernels.view_consistency import compare_with_views, measure_edges
from driv3r.types import Camera

LEAST_ERROR_M = 0.01
HULL_MARGIN_M = 0.1  # beyond rounding
# The own car in its ego frame, low and high corner: what cameras see of it is no street.
EGO_BODY_M = np.array([[-1.5, -1.2, 0.1], [4.5, 1.2, 2.2]])


@dataclass(frozen=True, eq=False)
class PixelEvidence:
    """The pixels of one frame that have depth: where they are and what other views say.

    `pixel` counts the strided pixels of a view, `columns` of them in a row. `point_world` is
    corrected by the views that agree, `error_m` the standard deviation along the ray (Laplace b)
    that is left, `own_error_m` that of the pixel by itself. `agrees` and `through` count views that
    see the surface there, and that look through it. `edge` is that of `measure_edges`.
    """

    frame: int
    columns: int
    view: Int[np.ndarray, "n"]
    pixel: Int[np.ndarray, "n"]
    time_us: Int[np.ndarray, "n"]
    point_world: Float[np.ndarray, "n 3"]
    ray_world: Float[np.ndarray, "n 3"]
    range_m: Float[np.ndarray, "n"]
    error_m: Float[np.ndarray, "n"]
    own_error_m: Float[np.ndarray, "n"]
    agrees: Int[np.ndarray, "n"]
    through: Int[np.ndarray, "n"]
    motion: Float[np.ndarray, "n"]
    edge: Float[np.ndarray, "n"]
    rgb: UInt8[np.ndarray, "n 3"]

    def take(self, chosen: Bool[np.ndarray, "n"] | Int[np.ndarray, "m"]) -> "PixelEvidence":
        """Some of the pixels."""
        arrays = [f.name for f in fields(self) if f.name not in ("frame", "columns")]
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(self, **{name: getattr(self, name).take(rows, axis=0) for name in arrays})

    def __len__(self) -> int:
        return len(self.view)


def gather_evidence(frames: FrameWindow, index: int, config: FusionConfig) -> PixelEvidence:
    """Compare a frame's pixels with all views of the frames around it; empty without depth."""
    own = lift_pixels(frames[index], config)
    n = len(own)
    agrees, through = np.zeros(n, np.int32), np.zeros(n, np.int32)
    weight, shift_m = np.zeros(n), np.zeros(n)
    ends = [0, *(np.flatnonzero(np.diff(own.view)) + 1).tolist(), n]  # a camera's pixels are a run
    runs = [slice(start, end) for start, end in zip(ends, ends[1:], strict=False) if end > start]
    hulls = [_find_hull(frames[index], own, rows) for rows in runs]
    for other in list_compared(index, len(frames), config):
        views = frames[other].placed
        for rows, hull in zip(runs, hulls, strict=True):
            # Of the own frame only other cameras tell something new.
            seen_from = np.flatnonzero(views.view == own.view[rows.start])
            skipped = int(seen_from[0]) if other == index else -1
            pixel, z_m = views.locate(own.point_world[rows], hull)
            compare_with_views(
                pixel, z_m, own.ray_world[rows], own.error_m[rows], skipped,
                views.cam_T_world[:, 2, :3], *views.maps, config.tolerance, config.base_error_m,
                agrees[rows], through[rows], weight[rows], shift_m[rows],
            )  # fmt: skip
    total = weight + 1 / own.error_m**2
    point_world = own.point_world + own.ray_world * (shift_m / total)[:, None]
    error_m = 1 / np.sqrt(total)
    return replace(own, point_world=point_world, error_m=error_m, agrees=agrees, through=through)


def _find_hull(frame: FusedFrame, own: PixelEvidence, rows: slice) -> Float[np.ndarray, "5 3"]:
    """Corners of a pyramid that holds one view's points: its camera, and rays of its image."""
    view = own.view[rows.start]
    camera, world_T_cam = frame.cameras[view], frame.world_T_cam[view]
    height, width = camera.size_hw
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    farthest_m = own.range_m[rows].max() + HULL_MARGIN_M
    ends = apply(world_T_cam, unproject(camera, corners) * farthest_m)
    return np.concatenate([world_T_cam[None, :3, 3], ends])


def list_compared(index: int, count: int, config: FusionConfig) -> list[int]:
    """The frames that a frame is compared with: itself (its other cameras) and its offsets."""
    near = {index + sign * offset for offset in config.offsets for sign in (-1, 1)}
    return sorted(other for other in near | {index} if 0 <= other < count)


def lift_pixels(frame: FusedFrame, config: FusionConfig) -> PixelEvidence:
    """Every stride-th pixel that has usable depth, as it is by itself."""
    step = config.pixel_stride
    at = (slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
    depth_m, sigma = frame.depth_m[at], frame.sigma[at]
    usable = (depth_m > 0) & (depth_m <= config.max_depth_m) & (sigma >= 0)
    usable &= np.isfinite(sigma) & np.isfinite(frame.motion[at])
    edge = np.empty(depth_m.shape)
    measure_edges(frame.depth_m, step, edge)
    parts = [
        _lift_view(frame, view, camera, at[1:], usable[view]) | {"edge": edge[view][usable[view]]}
        for view, camera in enumerate(frame.cameras)
    ]
    own = PixelEvidence(
        frame.index,
        depth_m.shape[2],
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )
    return own.take(~_is_own_car(frame, own.point_world))


def _lift_view(
    frame: FusedFrame, view: int, camera: Camera, at: tuple[slice, slice], chosen: np.ndarray
) -> dict[str, np.ndarray]:
    """The chosen ones of a view's strided pixels, as fields of PixelEvidence."""
    rays = cached_rays(camera)[at][chosen]
    length = np.linalg.norm(rays, axis=-1)
    rays, place_cam = _roll(frame, view, camera, at, chosen, rays / length[:, None])
    ray_world = rays @ frame.world_T_cam[view, :3, :3].T
    range_m = frame.depth_m[view][at][chosen].astype(np.float64) * length
    error_m = np.maximum(range_m * frame.sigma[view][at][chosen], LEAST_ERROR_M)
    n = len(rays)
    return {
        "view": np.full(n, view, np.int32),
        "pixel": np.flatnonzero(chosen),
        "time_us": np.full(n, frame.time_cam_us[view], np.int64),
        "point_world": apply(frame.world_T_cam[view], place_cam) + ray_world * range_m[:, None],
        "ray_world": ray_world,
        "range_m": range_m,
        "error_m": error_m,
        "own_error_m": error_m,
        "agrees": np.zeros(n, np.int32),
        "through": np.zeros(n, np.int32),
        "motion": frame.motion[view][at][chosen].astype(np.float64),
        "rgb": frame.rgb[view][at][chosen],
    }


def _roll(
    frame: FusedFrame, view: int, camera: Camera, at: tuple[slice, slice], chosen: np.ndarray,
    rays: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "#n 3"]]:  # fmt: skip
    """Pixels' rays, and where the camera was when their lines were read, in its frame."""
    shutter = frame.shutter(view)
    if shutter is None:
        return rays, np.zeros((1, 3))
    axis = 0 if shutter.by_rows else 1
    line = np.arange(camera.size_hw[axis])[at[axis]][np.nonzero(chosen)[axis]]
    cam_T_line = place_image_lines(camera, shutter)[line]
    return np.einsum("nij,nj->ni", cam_T_line[:, :3, :3], rays), cam_T_line[:, :3, 3]


def find_moving(pixels: PixelEvidence, config: FusionConfig) -> Bool[np.ndarray, "n"]:
    """Pixels that move by the network's word."""
    return pixels.motion >= config.moving_above


def find_static(pixels: PixelEvidence, config: FusionConfig) -> Bool[np.ndarray, "n"]:
    """Pixels for the static map if they stand: exact enough, and not looked through."""
    seen_through = (pixels.through >= config.min_through) & (pixels.through > pixels.agrees)
    # Depth is smooth where it jumps, but for one that is told to be exact there, too.
    sharp = (pixels.edge <= config.max_edge) | (
        pixels.own_error_m <= config.max_edge * pixels.range_m
    )
    return sharp & (pixels.error_m <= config.max_error_m) & ~seen_through


def _is_own_car(frame: FusedFrame, points_world: Float[np.ndarray, "n 3"]) -> np.ndarray:
    if not np.isfinite(frame.world_T_ego).all():
        return np.zeros(len(points_world), bool)
    points_ego = apply(invert(frame.world_T_ego), points_world)
    low, high = EGO_BODY_M
    return ((points_ego >= low) & (points_ego <= high)).all(-1)
