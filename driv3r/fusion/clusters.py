"""The moving pixels of one surround frame as clusters in metres, across all its cameras."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from driv3r.fusion.evidence import FusedFrame, FusionConfig, find_moving
from driv3r.fusion.voxels import pack_voxels


@dataclass(frozen=True, eq=False)
class Cluster:
    """One thing that moves, seen in one frame: its box along the world's axes and some points."""

    frame: int
    time_us: int
    center_world: Float[np.ndarray, "3"]
    size_m: Float[np.ndarray, "3"]
    points_world: Float32[np.ndarray, "k 3"]


def find_clusters(
    frame: FusedFrame, config: FusionConfig
) -> tuple[list[Cluster], Float32[np.ndarray, "u 3"]]:
    """Clusters of the moving pixels, and the points (thinned) that belong to none."""
    moving = find_moving(frame, config)
    points_world = frame.points_world[moving].astype(np.float64)
    time_us = frame.time_us[np.nonzero(moving)[0]]
    growth = np.maximum(frame.depth_m[moving].astype(np.float64) / config.gap_grows_from_m, 1.0)
    label = link_points(points_world, config.cluster_gap_m * growth, config.cluster_gap_m / 2)
    by_label = np.argsort(label, kind="stable")
    groups = np.split(by_label, np.cumsum(np.bincount(label))[:-1])
    clusters = [
        _describe(frame.index, points_world[group], time_us[group], config.max_points)
        for group in groups
        if len(group) >= config.min_cluster_points
    ]
    rest = [group for group in groups if len(group) < config.min_cluster_points]
    unassigned = points_world[np.sort(np.concatenate(rest))] if rest else points_world[:0]
    return clusters, _thin(unassigned, config.max_points)


def link_points(
    points: Float[np.ndarray, "n 3"], gap_m: Float[np.ndarray, "n"], cell_m: float
) -> Int[np.ndarray, "n"]:
    """Label of each point: single linkage of the mean points of occupied cells.

    Two cells are linked where their means are no further apart than the smaller of their gaps. Thus
    the cost depends on the surface seen and not on the number of pixels.
    """
    _, cell, count = np.unique(pack_voxels(points, cell_m), return_inverse=True, return_counts=True)
    if len(count) == 0:
        return cell
    mean = np.stack([np.bincount(cell, axis) for axis in points.T], axis=-1) / count[:, None]
    gap = np.bincount(cell, gap_m) / count
    i, j = KDTree(mean).query_pairs(gap.max(), output_type="ndarray").T
    near = np.linalg.norm(mean[i] - mean[j], axis=-1) <= np.minimum(gap[i], gap[j])
    edges = coo_array((near[near], (i[near], j[near])), shape=(len(count), len(count)))
    return connected_components(edges, directed=False)[1][cell]


def _describe(
    frame: int, points: Float[np.ndarray, "n 3"], time_us: Int[np.ndarray, "n"], keep: int
) -> Cluster:
    low, high = np.percentile(points, [2, 98], axis=0)  # stray pixels at edges shift neither end
    # The lower median is the time of a camera; a mean would be the time of none.
    median_us = int(np.sort(time_us)[(len(time_us) - 1) // 2])
    return Cluster(frame, median_us, (low + high) / 2, high - low, _thin(points, keep))


def _thin(points: Float[np.ndarray, "n 3"], keep: int) -> Float32[np.ndarray, "k 3"]:
    """At most `keep` points, evenly spaced in pixel order."""
    kept = np.arange(min(keep, len(points))) * len(points) // min(keep, max(len(points), 1))
    return points[kept].astype(np.float32)
