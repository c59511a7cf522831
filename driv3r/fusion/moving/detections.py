"""Moving pixels of one surround frame as detections: image segments, joined across cameras."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from driv3r.fusion.consistency import PixelEvidence
from driv3r.fusion.frames import FusionConfig
from driv3r.geometry.sampling import spread_rows

ACROSS_M = 0.3  # standard deviation of a detection's middle across the ray: edges, seen side
SEGMENT_REACH = 2  # strided pixels between which a surface goes on


@dataclass(frozen=True, eq=False)
class Detection:
    """One thing that may move, seen in one frame; `rows` are its pixels among the moving ones.

    `number` counts a frame's detections; `also` are others of the frame that are parts of it.

    `center_world` is the middle of its points, `covariance` (m^2) that of its error: long along the
    ray, as depth errs for all of its pixels alike. `rgb` is their mean colour, `motion` the median
    probability that they move.
    """

    frame: int
    time_us: int
    center_world: Float[np.ndarray, "3"]
    covariance: Float[np.ndarray, "3 3"]
    ray_world: Float[np.ndarray, "3"]
    size_m: Float[np.ndarray, "3"]
    points_world: Float[np.ndarray, "k 3"]
    points_rgb: UInt8[np.ndarray, "k 3"]
    rgb: Float[np.ndarray, "3"]
    rows: Int[np.ndarray, "n"]
    motion: float = 1.0
    number: int = 0
    also: tuple["Detection", ...] = ()


def find_detections(moving: PixelEvidence, config: FusionConfig) -> list[Detection]:
    """The segments of a frame's moving pixels, the largest first; small ones are left out."""
    label = join_segments(moving, segment_pixels(moving, config.segment_step), config)
    by_label = np.argsort(label, kind="stable")
    groups = np.split(by_label, np.cumsum(np.bincount(label))[:-1])
    large = [group for group in groups if _is_enough(moving, group, config)]
    return [_describe(moving, group, config) for group in sorted(large, key=len, reverse=True)]


def _is_enough(moving: PixelEvidence, rows: Int[np.ndarray, "n"], config: FusionConfig) -> bool:
    """Pixels enough for a detection: a third of them do where their depth is exact."""
    exact = 3 * len(rows) >= config.min_cluster_points and (
        float(np.median(moving.own_error_m[rows])) <= ACROSS_M
    )
    return exact or len(rows) >= config.min_cluster_points


def segment_pixels(pixels: PixelEvidence, step: float) -> Int[np.ndarray, "n"]:
    """Label of each pixel: neighbours in a view whose ranges differ by less than a share `step`."""
    n = len(pixels)
    height = int(pixels.pixel.max(initial=-1)) // pixels.columns + 1 + SEGMENT_REACH
    width = pixels.columns + SEGMENT_REACH
    row, column = np.divmod(pixels.pixel, pixels.columns)
    cell = (pixels.view * height + row) * width + column
    slot = np.full((int(pixels.view.max(initial=0)) + 1) * height * width + 1, -1)
    slot[cell] = np.arange(n)
    edges = []
    for down in range(SEGMENT_REACH + 1):
        for right in range(-SEGMENT_REACH if down else 1, SEGMENT_REACH + 1):
            beside = column + right
            target = np.minimum(cell + down * width + right, len(slot) - 1)
            other = np.where((beside >= 0) & (beside < pixels.columns), slot[target], -1)
            linked = np.flatnonzero(other >= 0)
            near = np.abs(np.log(pixels.range_m[linked] / pixels.range_m[other[linked]])) < step
            edges.append(np.stack([linked[near], other[linked[near]]]))
    return _components(np.concatenate(edges, axis=1), n)


def join_segments(
    pixels: PixelEvidence, label: Int[np.ndarray, "n"], config: FusionConfig
) -> Int[np.ndarray, "n"]:
    """Labels with segments joined that come close, in several cameras' images or in one.

    In one image only where depth is exact: what errs by metres along the ray comes close to much.
    """
    if not len(label):
        return label
    edges = [_share_cell(pixels, label, config.cluster_gap_m)]
    views = np.unique(pixels.view)
    for i, first in enumerate(views):
        of_first = np.flatnonzero(pixels.view == first)
        tree = KDTree(pixels.point_world[of_first])
        for second in views[i + 1 :]:
            of_second = np.flatnonzero(pixels.view == second)
            limit_m = np.nextafter(config.cluster_gap_m, np.inf)
            found = tree.query(pixels.point_world[of_second], distance_upper_bound=limit_m)
            gap_m, nearest = map(np.asarray, found)
            close = gap_m <= config.cluster_gap_m
            pair = label[of_first[nearest[close]]], label[of_second[close]]
            edges.append(_distinct(np.stack(pair)))
    return _components(np.concatenate(edges, axis=1), int(label.max()) + 1)[label]


def _share_cell(
    pixels: PixelEvidence, label: Int[np.ndarray, "n"], cell_m: float
) -> Int[np.ndarray, "2 e"]:
    """Pairs of labels that have points in one cell of a grid, of points that are exact enough."""
    exact = pixels.own_error_m <= ACROSS_M
    cell, label = np.floor(pixels.point_world[exact] / cell_m).astype(np.int64), label[exact]
    order = np.lexsort((label, *cell.T))
    pair = np.stack([label[order][:-1], label[order][1:]])
    shared = (np.diff(cell[order], axis=0) == 0).all(1) & (pair[0] != pair[1])
    return _distinct(pair[:, shared])


def _distinct(pairs: Int[np.ndarray, "2 e"]) -> Int[np.ndarray, "2 d"]:
    """Each pair once, in order."""
    first, second = pairs.astype(np.int64)
    most = int(second.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(first * most + second), most))


def _components(edges: Int[np.ndarray, "2 e"], n: int) -> Int[np.ndarray, "n"]:
    graph = coo_array((np.ones(edges.shape[1], bool), tuple(edges)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _describe(moving: PixelEvidence, rows: Int[np.ndarray, "n"], config: FusionConfig) -> Detection:
    pixels = moving.take(rows)
    points = pixels.point_world
    low, high = np.percentile(points, [10, 90], axis=0)  # without stray pixels at edges
    ray = pixels.ray_world.mean(0)
    ray /= np.linalg.norm(ray)
    along_m = float(np.median(pixels.own_error_m)) * np.sqrt(2)  # of Laplace b
    covariance = ACROSS_M**2 * np.eye(3) + along_m**2 * np.outer(ray, ray)
    # The lower median is the time of a camera; a mean would be the time of none.
    median_us = int(np.sort(pixels.time_us)[(len(pixels) - 1) // 2])
    kept = spread_rows(len(points), config.max_points)
    return Detection(
        pixels.frame,
        median_us,
        np.median(points, axis=0),
        covariance,
        ray,
        high - low,
        points[kept].astype(np.float32),
        pixels.rgb[kept],
        pixels.rgb.mean(0),
        rows,
        float(np.median(pixels.motion)),
    )
