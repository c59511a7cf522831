"""What moves by itself: image flow less the flow that the camera's own motion explains.

`score_motion` is ours. `score_like_driv3r` repeats the published rule (Fei et al. 2024, 4D flow
predictor), mistakes included, to compare with it.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import lift_depth, pixel_grid, project
from driv3r.geometry.transforms import invert
from driv3r.types import Camera, Transform

DRIV3R_PAIRS = ((0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (2, 4))
DRIV3R_EPS = 1e-6
LEAST_PX = 12  # dense inverse search has no smaller images

Image = UInt8[np.ndarray, "h w 3"]


def score_motion(
    camera: Camera,
    depth_m: Float[np.ndarray, "h w"],
    world_T_first: Transform,
    world_T_second: Transform,
    flow_px: Float[np.ndarray, "h w 2"],
) -> Float[np.ndarray, "h w"]:
    """Pixels by which the flow from the first image to the second differs from `explain_flow`.

    NaN where that is. A point that its surroundings hide in the second image has no true flow, and
    what is measured there is arbitrary. GeometryError as there, and for a flow of another size.
    """
    if flow_px.shape != (*depth_m.shape, 2):
        raise GeometryError(
            f"flow {flow_px.shape} for depth {depth_m.shape}; expected a flow (u, v) for each "
            "pixel of the depth: resize one of them, and scale the flow with it"
        )
    explained = explain_flow(camera, depth_m, world_T_first, world_T_second)
    return np.asarray(np.linalg.norm(flow_px - explained, axis=-1))


def explain_flow(
    camera: Camera,
    depth_m: Float[np.ndarray, "h w"],
    world_T_first: Transform,
    world_T_second: Transform,
) -> Float[np.ndarray, "h w 2"]:
    """Flow in pixels that still things would show: `world_T_first` and `world_T_second` are the
    camera's poses at both times, `depth_m` belongs to the first image.

    NaN where depth is not finite and positive, and where the point leaves the image or comes
    behind the camera. GeometryError where depth is not of the camera's size.
    """
    if depth_m.shape != camera.size_hw:
        raise GeometryError(
            f"depth {depth_m.shape} for camera {camera.name!r} of {camera.size_hw}; expected one "
            "size: crop_resize the camera"
        )
    known = np.isfinite(depth_m) & (depth_m > 0)
    second_T_first = invert(world_T_second) @ world_T_first
    points_second = lift_depth(camera, np.where(known, depth_m, np.nan), second_T_first)
    uv, _, inside = project(camera, points_second)
    return np.where(inside[..., None], uv - pixel_grid(camera.size_hw), np.nan)


def estimate_flow(method: str, first: Image, second: Image) -> Float32[np.ndarray, "h w 2"]:
    """Dense flow in pixels from the first image to the second by one of FLOWS.

    ConfigError for another method, GeometryError for images of two sizes or of few pixels.
    """
    if method not in FLOWS:
        raise ConfigError(f"no flow method {method!r}; there are {', '.join(FLOWS)}")
    if first.shape != second.shape:
        raise GeometryError(f"images of {first.shape} and {second.shape}; flow needs one size")
    if min(first.shape[:2]) < LEAST_PX:
        raise GeometryError(f"images of {first.shape}; flow needs {LEAST_PX} pixels each way")
    grey = [cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY) for i in (first, second)]
    return FLOWS[method](*grey)


def _search_inversely(
    first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w 2"]:
    """Dense inverse search (Kroeger et al. 2016) at OpenCV's medium setting."""
    none: Any = None  # OpenCV's stubs do not know that the start may be left out
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return search.calc(first, second, none)


FLOWS: dict[str, Callable[..., Float32[np.ndarray, "h w 2"]]] = {"dis": _search_inversely}


def score_like_driv3r(
    points_first: Float[np.ndarray, "b 5 h w 3"],
    cam_T_first: Float[np.ndarray, "b 5 4 4"],
    K: Float[np.ndarray, "b 5 3 3"],
    flow_px: Float[np.ndarray, "b 6 h w 2"],
    back_flow_px: Float[np.ndarray, "b 6 h w 2"],
) -> Float[np.ndarray, "b 5 h w"]:
    """Driv3R's dynamic score of five frames, 0 to 1; its mask is what exceeds 0.6.

    `points_first` are the predicted pointmaps in the first frame's camera, `cam_T_first` what PnP
    makes of them, flows those of DRIV3R_PAIRS there and back. What is kept of the original:

    - cam_T_first is used as if it were first_T_cam, in the depths and in the flow;
    - the error is stretched to 0..1 in each image of each pair, so that something always moves,
      and an error that is the same everywhere gives NaN;
    - pixels are counted from the first one's centre, and points behind a camera are not left out.
    """
    first, second = np.array(DRIV3R_PAIRS).T
    depth_m = depth_like_driv3r(points_first, cam_T_first)
    scores = np.zeros(depth_m.shape)
    for here, there, seen in ((first, second, flow_px), (second, first, back_flow_px)):
        explained = flow_like_driv3r(
            depth_m[:, here], cam_T_first[:, here], cam_T_first[:, there], K[:, here], K[:, there]
        )
        error = np.linalg.norm(explained - seen, axis=-1)
        for pair, frame in enumerate(here):
            scores[:, frame] += _stretch(error[:, pair])
    return scores / np.bincount(np.ravel(DRIV3R_PAIRS))[:, None, None]


def depth_like_driv3r(
    points_first: Float[np.ndarray, "b t h w 3"], cam_T_first: Float[np.ndarray, "b t 4 4"]
) -> Float[np.ndarray, "b t h w"]:
    """z of each frame's points, where Driv3R believes that frame's camera to be.

    The first frame's are taken as they are; the others' transform is the inverse of the right one.
    """
    T = cam_T_first.astype(np.float64)
    believed = np.linalg.inv(T) @ T[:, :1]
    believed[:, 0] = np.eye(4)
    turned = np.einsum("btj,bthwj->bthw", believed[:, :, 2, :3], points_first)
    return turned + believed[:, :, 2, 3, None, None]


def flow_like_driv3r(
    depth_m: Float[np.ndarray, "b p h w"],
    cam_T_first: Float[np.ndarray, "b p 4 4"],
    other_T_first: Float[np.ndarray, "b p 4 4"],
    K: Float[np.ndarray, "b p 3 3"],
    other_K: Float[np.ndarray, "b p 3 3"],
) -> Float[np.ndarray, "b p h w 2"]:
    """Flow of still things by Driv3R: poses taken the wrong way round, pixels from (0, 0)."""
    believed = np.linalg.inv(other_T_first.astype(np.float64)) @ cam_T_first
    uv = pixel_grid((depth_m.shape[2], depth_m.shape[3])) - 0.5
    rays = np.concatenate([uv, np.ones_like(uv[..., :1])], axis=-1)
    points = np.einsum("bpij,hwj->bphwi", np.linalg.inv(K.astype(np.float64)), rays)
    points = np.einsum("bpij,bphwj->bphwi", believed[..., :3, :3], points * depth_m[..., None])
    points += believed[:, :, None, None, :3, 3]
    projected = np.einsum("bpij,bphwj->bphwi", other_K, points)
    return projected[..., :2] / (projected[..., 2:] + DRIV3R_EPS) - uv


def _stretch(error: Float[np.ndarray, "b h w"]) -> Float[np.ndarray, "b h w"]:
    low, high = (f(error, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    with np.errstate(invalid="ignore"):  # 0 / 0, as in the original
        return (error - low) / (high - low)
