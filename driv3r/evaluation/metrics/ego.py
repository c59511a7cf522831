"""Ego poses against truth: ATE and RPE after rigid and after similarity alignment."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.errors import GeometryError, ScoringError
from driv3r.geometry.transforms import angle_rad, apply, invert
from driv3r.geometry.umeyama import align_umeyama
from driv3r.types import Score

STANDING_M = 0.1  # a car that stays this close to its start stands: the rest is pose noise
STANDING = f"the car stays within {STANDING_M} m of its start"
ALIGNMENTS = {"se3": False, "sim3": True}  # and whether it may scale


@dataclass(frozen=True)
class EgoScores:
    """The figures that are determined, and why the others are not: `omitted[figure]`."""

    scores: list[Score]
    omitted: dict[str, str]


def score_ego(
    world_T_ego_true: Float[np.ndarray, "t 4 4"],
    world_T_ego_predicted: Float[np.ndarray, "s 4 4"],
    time_us: Int[np.ndarray, "r"],
    subject: str,
    found: Bool[np.ndarray, "q"] | None = None,
    protocol: str = "ego",
) -> EgoScores:
    """ATE and RPE of a log under SE(3) and Sim(3) (as `scaling`), with scale and path length.

    ate_rmse is the RMS distance after alignment (Sturm et al., IROS 2012); rpe_translation and
    rpe_rotation the RMS errors of consecutive relative motions; rpe_percent the summed translation
    error over the path's length. A frame whose motion was not `found` but extrapolated has no part
    in them: neither its position nor the step to it is scored; `omitted` tells how many there are.
    Poses that are all the identity are no truth, and give no figure.

    Raises ScoringError on poses that do not pair up, are not finite, or whose times do not
    increase.
    """
    if found is None:
        found = np.ones(len(time_us), bool)
    _check(world_T_ego_true, world_T_ego_predicted, time_us, found, subject)
    true, predicted = world_T_ego_true.astype(float), world_T_ego_predicted.astype(float)
    n, from_start_m = len(true), np.linalg.norm(true[:, :3, 3] - true[0, :3, 3], axis=-1)
    if n > 1 and (true == np.eye(4)).all():
        return EgoScores([], {"ate, rpe": "the dataset tells no ego poses: all are the identity"})
    step_m = np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=-1)
    path_m = float(step_m[found[1:] if found[1:].any() else slice(None)].sum())
    scores = [Score("path_length", path_m, "m", n, protocol, subject, "none")]
    if n < 2:
        return EgoScores(scores, {"ate, rpe": "one frame fits itself: there is no motion to score"})
    step_s = float(np.median(np.diff(time_us)) * 1e-6)
    scores.append(Score("step", step_s, "s", n - 1, protocol, subject, "none"))
    standing = bool(from_start_m.max() < STANDING_M)
    omitted = {"rpe_percent": STANDING} if standing else {}
    if not found.all():
        omitted["extrapolated"] = f"{int((~found).sum())} of {n} frames have no motion estimate"
    if not found[1:].any():
        return EgoScores(scores, omitted | {"ate, rpe": "no motion was found: nothing to score"})
    for alignment, with_scale in ALIGNMENTS.items():
        if standing and with_scale:
            omitted[alignment] = f"{STANDING}: there is no scale to find"
            continue
        try:
            figures = _figures(true, predicted, found, with_scale, None if standing else path_m)
        except GeometryError as error:
            omitted[alignment] = f"predicted path: {error}"
            continue
        for metric, (value, unit, count) in figures.items():
            scores.append(Score(metric, value, unit, count, protocol, subject, alignment))
    return EgoScores(scores, omitted)


def without_metres(verdict: EgoScores) -> EgoScores:
    """The figures that hold of a path up to scale: all but those of the rigid alignment."""
    kept = [score for score in verdict.scores if score.scaling != "se3"]
    return EgoScores(kept, verdict.omitted | {"se3": "the log is up to scale"})


def _figures(
    true: Float[np.ndarray, "t 4 4"],
    predicted: Float[np.ndarray, "t 4 4"],
    found: Bool[np.ndarray, "t"],
    with_scale: bool,
    path_m: float | None,
) -> dict[str, tuple[float, str, int]]:
    """Value, unit and samples of every figure under one alignment; no percentage without a path.

    The first frame's pose is given, the others' are `found` or left out.
    """
    true_m, positions_m = true[found, :3, 3], predicted[found, :3, 3]
    scale, true_T_predicted = align_umeyama(true_m, positions_m, with_scale)
    off_m = np.linalg.norm(true_m - apply(true_T_predicted, scale * positions_m), axis=-1)
    scaled = predicted.copy()
    scaled[:, :3, 3] *= scale
    # A rotation of the whole path cancels in relative motions; only the scale is left of it.
    true_step, scaled_step = ((invert(p[:-1]) @ p[1:])[found[1:]] for p in (true, scaled))
    off_step = invert(true_step) @ scaled_step
    step_m = np.linalg.norm(off_step[:, :3, 3], axis=-1)
    steps = len(step_m)
    figures = {
        "ate_rmse": (_rms(off_m), "m", len(off_m)),
        "rpe_translation": (_rms(step_m), "m", steps),
        "rpe_rotation": (_rms(np.degrees(angle_rad(off_step))), "deg", steps),
    }
    if path_m:
        figures["rpe_percent"] = (float(100 * step_m.sum() / path_m), "%", steps)
    if with_scale:
        figures["scale"] = (scale, "", len(off_m))
    return figures


def _rms(values: Float[np.ndarray, "n"]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _check(
    true: Float[np.ndarray, "t 4 4"],
    predicted: Float[np.ndarray, "s 4 4"],
    time_us: Int[np.ndarray, "r"],
    found: Bool[np.ndarray, "q"],
    subject: str,
) -> None:
    if not 0 < len(true) == len(predicted) == len(time_us) == len(found):
        raise ScoringError(
            f"{subject!r}: {len(true)} true poses, {len(predicted)} predicted, {len(time_us)} "
            f"times, {len(found)} marks; expected as many of each, at least one: pair them by "
            "frame first"
        )
    for name, poses in (("true", true), ("predicted", predicted)):
        bad = np.flatnonzero(~np.isfinite(poses).all((1, 2)))
        if len(bad):
            raise ScoringError(
                f"{subject!r}: {name} poses of frames {bad.tolist()} are not finite; leave these "
                "frames out"
            )
    if np.any(np.diff(time_us) <= 0):
        raise ScoringError(f"{subject!r}: times must increase strictly: sort the frames by time_us")
