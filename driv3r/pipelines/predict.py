"""Prediction stage of a log: run the network over its frames and write each prediction."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from driv3r.datasets.preprocess import WorkRig, prepare_ignored
from driv3r.datasets.read_ahead import read_ahead
from driv3r.errors import DatasetError
from driv3r.evaluation.stored_frames import (
    FrameInput,
    StoredFrame,
    describe_repair,
    find_gaps,
    read_input,
    replay,
)
from driv3r.geometry.ego_path import EgoPath, camera_times_us, chain_ego_poses, given_ego_poses
from driv3r.geometry.rolling_shutter import with_ego_motion
from driv3r.inference.predictor import Predictor
from driv3r.inference.refinement import FrameRefiner
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.settings import Settings
from driv3r.store.schema import FrameRecord, Status
from driv3r.store.writer import LogWriter
from driv3r.types import (
    EgoPoses,
    Frame,
    Images,
    Prediction,
    RollingShutter,
    Scale,
    Scene,
    Transform,
)

SAVE_STATE_EVERY = 4


def predict_frames(
    scene: Scene, work: WorkRig, writer: LogWriter, predictor: Predictor, settings: Settings
) -> Iterator[StoredFrame]:
    """Every frame in order of time as a reader of the store will find it.

    Those not yet written are predicted and written first. A frame's images are decoded once.
    """
    refiner, path = FrameRefiner(work, settings.refine, settings.ego_poses), EgoPath()
    ignored = prepare_ignored(scene.ignored, work)

    def read(index: int) -> tuple[FrameInput, Images]:
        given = read_input(scene, work, index)
        return given, refiner.prepare(given.frame, given.images)

    start = _resume(writer, predictor, refiner, path)
    yield from replay(scene, work, writer.read_frame, start)
    since = time.monotonic()
    for index, (given, fine) in read_ahead(read, range(start, len(scene.frames))):
        frame, dt_s = given.frame, path.dt_s(given.frame.time_us)
        cameras, known = (
            _given_poses(frame, work, path) if settings.ego_poses == "given" else (None, None)
        )
        prediction = predictor.step(StreamFrame(given.images, dt_s, cameras))
        prediction, prev_T_curr = refiner.refine(fine, prediction, dt_s, known)
        prediction = replace(mask_prediction(prediction, ignored), scale=scale_of(scene))
        place = _estimate_ego_pose(given, work, path, settings.ego_poses, prev_T_curr)
        record = _make_record(given, prediction, place, time.monotonic() - since)
        writer.write_frame(index, record)
        if (index + 1) % SAVE_STATE_EVERY == 0:
            _save(writer, predictor, refiner, path, index)
        yield given.answered(writer.read_frame(index))
        since = time.monotonic()


def mask_prediction(
    prediction: Prediction, ignored: Bool[np.ndarray, "v h w"] | None
) -> Prediction:
    """The prediction without a word (NaN) of ignored pixels."""
    if ignored is None:
        return prediction
    names = ("depth_m", "sigma", "motion")
    maps = {name: np.where(ignored, np.nan, getattr(prediction, name)) for name in names}
    return replace(
        prediction, **{k: v.astype(getattr(prediction, k).dtype) for k, v in maps.items()}
    )


@dataclass(frozen=True, eq=False)
class EgoEstimate:
    """The car at a frame's time and at each camera's, and whether that was only extrapolated."""

    world_T_ego: Transform
    world_T_ego_cam: Float[np.ndarray, "v 4 4"]
    extrapolated: bool
    shutters: tuple[RollingShutter | None, ...] = ()


def _make_record(
    given: FrameInput, prediction: Prediction, place: EgoEstimate, seconds: float
) -> FrameRecord:
    frame, gaps = given.frame, find_gaps(prediction, place.extrapolated)
    return FrameRecord(
        prediction=prediction,
        status=frame_status(frame, place.extrapolated),
        reasons=tuple(map(describe_repair, (*frame.repairs, *gaps))),
        time_cam_us=camera_times_us(frame),
        world_T_ego=place.world_T_ego,
        world_T_ego_cam=place.world_T_ego_cam,
        image_paths=tuple(None if view is None else view.path for view in frame.views),
        seconds=seconds,
        input_hash=hash_images(given.images),
        extrapolated=place.extrapolated,
        shutters=place.shutters,
    )


def _given_poses(
    frame: Frame, work: WorkRig, path: EgoPath
) -> tuple[Float[np.ndarray, "v 4 4"], Transform | None]:
    """By the dataset: each camera's world_T_cam, NaN where there is no image; prev_T_curr."""
    ego_T_cam = np.stack([camera.ego_T_cam for camera in work.rig.cameras])
    return given_ego_poses(frame, work.rig) @ ego_T_cam, path.motion_to(frame.world_T_ego)


def _estimate_ego_pose(
    given: FrameInput,
    work: WorkRig,
    path: EgoPath,
    ego_poses: EgoPoses,
    prev_T_curr: Transform | None,
) -> EgoEstimate:
    """Where the car is: as the dataset has it, or at the end of the predicted path."""
    frame, shutters = given.frame, tuple(given.shutters)
    rolling = any(shutter is not None for shutter in shutters)
    if ego_poses == "given":
        path.world_T_ego, path.time_us = frame.world_T_ego, frame.time_us
        poses = given_ego_poses(frame, work.rig)
        return EgoEstimate(frame.world_T_ego, poses, False, shutters if rolling else ())
    start = frame.world_T_ego
    world_T_ego, extrapolated = path.advance(frame.time_us, start, prev_T_curr)
    own = tuple(
        with_ego_motion(shutter, camera.ego_T_cam, path.rate)
        for shutter, camera in zip(shutters, work.rig.cameras, strict=True)
    )
    poses = chain_ego_poses(world_T_ego, path.rate, frame)
    return EgoEstimate(world_T_ego, poses, extrapolated, own if rolling else ())


def scale_of(scene: Scene) -> Scale:
    """What a log's results are known up to."""
    return "metric" if scene.calibrated else "similarity"


def check_poses(scene: Scene, settings: Settings) -> None:
    """DatasetError where options ask for poses or metres that a log does not have."""
    metric = {
        "--ego-poses given": settings.ego_poses == "given",
        f"--fuse {settings.fuse}": settings.fuse != "cameras",
    }
    for option, asked in metric.items():
        if asked and not scene.calibrated:
            assumed = "; ".join(map(describe_repair, scene.repairs[:2]))
            raise DatasetError(
                f"log {scene.id} is up to scale, as not all of its cameras is known ({assumed}), "
                f"but {option} needs metres; leave it out, or give the whole calibration"
            )
    if settings.ego_poses == "given" and not scene.poses_known:
        raise DatasetError(
            f"log {scene.id} has no poses, but --ego-poses given takes the dataset's; add a file "
            "of poses, or let them be estimated: --ego-poses predicted, or odometry"
        )


def find_image(scene: Scene) -> None:
    """DatasetError unless a log has at least one image."""
    for frame in scene.frames:
        if any(view is not None for view in frame.views):
            return
    first = "; ".join(map(describe_repair, scene.frames[0].repairs[:2]))
    raise DatasetError(
        f"log {scene.id}: none of {len(scene.frames)} frames has an image ({first}): fetch the "
        "dataset's image files beside its tables"
    )


def frame_status(frame: Frame, extrapolated: bool = False) -> Status:
    """Completeness of a frame's input and prediction."""
    if all(view is None for view in frame.views):
        return "quarantined"
    if any(view is None for view in frame.views):
        return "partial"
    return "repaired" if frame.repairs or extrapolated else "ok"


def hash_images(images: Images) -> str:
    """sha256 of the network's input images."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(b"none" if image is None else image.tobytes())
    return digest.hexdigest()


def _save(
    writer: LogWriter, predictor: Predictor, refiner: FrameRefiner, path: EgoPath, index: int
) -> None:
    arrays = {f"network/{k}": v for k, v in predictor.save_state().items()}
    arrays |= {f"refiner/{k}": v for k, v in refiner.save_state().items()}
    arrays |= {f"path/{k}": v for k, v in path.save_state().items()}
    writer.save_state(index, arrays)


def _resume(writer: LogWriter, predictor: Predictor, refiner: FrameRefiner, path: EgoPath) -> int:
    """Restore the state of a killed run; returns the first frame still to be predicted."""
    saved = writer.load_state()
    if saved is None or not set(range(saved[0] + 1)) <= writer.written():
        return 0
    index, arrays = saved
    sections: dict[str, dict[str, np.ndarray]] = {"network": {}, "refiner": {}, "path": {}}
    for name, array in arrays.items():
        section, leaf = name.split("/", 1)
        sections[section][leaf] = array
    predictor.load_state(sections["network"])
    refiner.load_state(sections["refiner"])
    path.load_state(sections["path"])
    return index + 1
