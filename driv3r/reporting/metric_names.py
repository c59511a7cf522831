"""What the report calls each metric, and what it says in a line."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricName:
    """A metric's label; `better` is -1 where less is better, 1 where more is, 0 where neither.

    `part` is what of the scene it is over, where a protocol tells parts apart: ground, off ground.
    """

    label: str
    better: int = 0
    explanation: str = ""
    part: str = ""


# The order is that of columns and rows; others follow as they come.
METRICS: dict[str, MetricName] = {
    "abs_rel": MetricName("Abs Rel", -1, "mean of |depth - truth| / truth"),
    "sq_rel": MetricName("Sq Rel", -1, "mean of (depth - truth)² / truth"),
    "rmse": MetricName("RMSE", -1, "root mean square error of depth"),
    "rmse_log": MetricName("RMSE log", -1, "the same of log depth"),
    "silog": MetricName("SILog", -1, "spread of the log error, any common scale set aside"),
    "delta1": MetricName("δ₁", 1, "share within a factor of 1.25"),
    "delta2": MetricName("δ₂", 1, "share within a factor of 1.25²"),
    "delta3": MetricName("δ₃", 1, "share within a factor of 1.25³"),
    "coverage_50": MetricName("Cover 50 %", 0, "share of truths in the stated 50 % interval"),
    "coverage_90": MetricName("Cover 90 %", 0, "share of truths in the stated 90 % interval"),
    "ause": MetricName("AUSE", -1, "how far sigma's order of errors is from the true order"),
    "abs_rel_bright": MetricName("Abs Rel, bright images", -1, "mean luma of 90 or more"),
    "abs_rel_dim": MetricName("Abs Rel, dim images", -1, "mean luma of 50 to 90"),
    "abs_rel_dark": MetricName("Abs Rel, dark images", -1, "mean luma below 50"),
    "ate_rmse": MetricName("ATE RMSE", -1, "distance of the path from the true one"),
    "rpe_translation": MetricName("RPE translation", -1, "error of a step"),
    "rpe_rotation": MetricName("RPE rotation", -1, "error of a step's turn"),
    "rpe_percent": MetricName("RPE of path", -1, "errors of all steps over the path's length"),
    "scale": MetricName("Scale", 0),
    "path_length": MetricName("Path length", 0),
    "step": MetricName("Step", 0),
    "hota": MetricName("HOTA", 1, "detection and association together, 0 to 1"),
    "mota": MetricName("MOTA", 1, "1 - (missed + false + switched) / true"),
    "idf1": MetricName("IDF1", 1, "F1 of states under the right identity"),
    "iou": MetricName("IoU", 1, "moving points: intersection over union"),
    "precision": MetricName("Precision", 1, "of points called moving, those that move"),
    "recall": MetricName("Recall", 1, "of what moves, the share that was found"),
    "average_precision": MetricName("Average precision", 1, "area under precision over recall"),
    "coverage": MetricName("Compared", 0, "share of the LiDAR's pixels that both have"),
    "depth_abs_rel": MetricName("Abs Rel", -1, "mean of |depth - truth| / truth"),
    "depth_error_median": MetricName("Median error", -1, "of depth"),
    "depth_delta1": MetricName("δ₁", 1, "share within a factor of 1.25"),
    "unpredicted": MetricName("Unpredicted", -1, "share of points without a prediction"),
    "movers_found": MetricName("Objects found", 1, "matched in half of their frames or more"),
    "false_states": MetricName("False states", -1, "share that match no moving object"),
    "states_on_standing": MetricName("States on what stands", -1, "share on a standing object"),
    "identity_switches": MetricName("Identity switches", -1, "changes of an object's track, a log"),
    "tracks_per_mover": MetricName("Tracks an object", -1, "1 is one track for its whole way"),
    "single_state_tracks": MetricName("Single-state tracks", -1, "share of the tracks"),
    "center_error": MetricName("Centre error", -1, "median distance of matched centres"),
    "velocity_error": MetricName("Velocity error", -1, "median over matched states"),
    "heading_error": MetricName("Heading error", -1, "median over matched states"),
    "in_sight": MetricName("In sight", 0, "share of voxels that a sweep could see"),
    "movers_removed": MetricName("Movers removed", 1, "LiDAR points on movers, no voxel near"),
    "occupancy_iou": MetricName("Occupancy IoU", 1, "voxels of map and truth, both in sight"),
    "pr": MetricName("Preserved (PR)", 1, "standing voxels of the truth that the map keeps"),
    "rr": MetricName("Rejected (RR)", 1, "moving voxels of the truth that the map leaves out"),
    "f1": MetricName("F1 of both", 1, "harmonic mean of preserved and rejected"),
    "sa": MetricName("Static accuracy (SA)", 1, "standing truth points that are kept"),
    "da": MetricName("Dynamic accuracy (DA)", 1, "moving truth points that are left out"),
    "aa": MetricName("Associated accuracy (AA)", 1, "√(SA · DA)"),
    "ha": MetricName("Harmonic accuracy (HA)", 1, "2 SA · DA / (SA + DA)"),
    "epe_three_way": MetricName("EPE, three-way", -1, "mean of the three kinds"),
    "epe_foreground_dynamic": MetricName("EPE, moving objects", -1, "end-point error in 0.1 s"),
    "epe_foreground_static": MetricName("EPE, standing objects", -1, "end-point error in 0.1 s"),
    "epe_background_static": MetricName("EPE, background", -1, "end-point error in 0.1 s"),
    "flow_foreground_dynamic": MetricName("Way of what moves", 0, "the true one, in 0.1 s"),
    "epe_dynamic_normalised": MetricName("EPE over speed", -1, "of what moves; 1: as if all stood"),
}
_PARTS = {"ground_": "ground", "off_ground_": "off ground"}
_PATTERNS = (  # of names that hold a number or a class
    (r"f_score_([\d.]+)", MetricName(r"F-score at \1 m", 1, r"completeness and accuracy in one")),
    (r"completeness_([\d.]+)", MetricName(r"Complete to \1 m", 1, "LiDAR points near a voxel")),
    (r"error_mean", MetricName("Mean error", -1, "from a voxel to the LiDAR's surface")),
    (r"error_median", MetricName("Median error", -1, "from a voxel to the LiDAR's surface")),
    (r"over_1_m", MetricName("Farther than 1 m", -1, "share of voxels off the LiDAR's surface")),
    (r"normal_consistency", MetricName("Normals agree", 1, "mean |cos| to the LiDAR surface's")),
    (r"recall_(\d+)_(\d+)_m", MetricName(r"Recall, \1 to \2 m", 1, "by distance from the car")),
    (r"recall_(\w+)", MetricName(r"Recall, \1", 1, "by kind or speed")),
)  # fmt: skip


def name_metric(metric: str) -> MetricName:
    """How a metric is shown; one that nothing is known of keeps its own name."""
    if metric in METRICS:
        return METRICS[metric]
    part = next((p for p in ("off_ground_", "ground_") if metric.startswith(p)), "")
    for pattern, name in _PATTERNS:
        match = re.fullmatch(pattern, metric.removeprefix(part))
        if match:
            label = match.expand(name.label)
            return MetricName(label, name.better, name.explanation, _PARTS.get(part, ""))
    return MetricName(metric)
