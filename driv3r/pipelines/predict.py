"""Stage one of a log: the network over its frames, each written as it comes."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.datasets.working_size import WorkRig, prepare_images
from driv3r.geometry.transforms import invert
from driv3r.network.stream import Streamer, StreamFrame
from driv3r.pipelines.fine_look import FineLook
from driv3r.pipelines.prepare import camera_times_us, chain_ego_poses, given_ego_poses
from driv3r.pipelines.seeds import SeedStreamer
from driv3r.store.schema import FrameRecord, Status
from driv3r.store.writer import LogWriter
from driv3r.types import EgoPoses, Frame, Scene, Transform

SAVE_STATE_EVERY = 4
AnyStreamer = Streamer | SeedStreamer
Images = Sequence[UInt8[np.ndarray, "h w 3"] | None]


@dataclass
class Track:
    """Where the car is believed to be after the last frame, and when that was."""

    world_T_ego: Transform | None = None
    time_us: int = 0

    def gap_s(self, time_us: int) -> float:
        """Seconds since the last frame; 0 on the first."""
        return 0.0 if self.world_T_ego is None else (time_us - self.time_us) * 1e-6

    def motion_to(self, world_T_ego: Transform) -> Transform | None:
        """last_T_ego of a car that is known to be there now; None on the first."""
        return None if self.world_T_ego is None else invert(self.world_T_ego) @ world_T_ego


def predict_frames(
    scene: Scene,
    work: WorkRig,
    writer: LogWriter,
    streamer: AnyStreamer,
    ego_poses: EgoPoses,
    tracks: bool,
    report: Callable[[int, int], None],
) -> None:
    """Predict and write every frame that is not yet written, in order of time.

    With `tracks` each prediction is held against features tracked in finer images.
    """
    fine, track = FineLook(scene, tracks, ego_poses == "odometry"), Track()
    for index in range(_resume(writer, streamer, fine, track), len(scene.frames)):
        since = time.monotonic()
        frame = scene.frames[index]
        images = prepare_images(frame, work)
        gap_s = track.gap_s(frame.time_us)
        cameras, known = _know(frame, work, track) if ego_poses == "given" else (None, None)
        prediction = streamer.step(StreamFrame(images, gap_s, cameras))
        prediction, last_T_ego = fine.look(frame, prediction, gap_s, known)
        track.world_T_ego, at_cameras = _locate(frame, work, track, ego_poses, last_T_ego, gap_s)
        track.time_us = frame.time_us
        record = FrameRecord(
            prediction=prediction,
            status=judge_frame(frame),
            reasons=tuple(f"{r.where}: {r.reason}" for r in frame.repairs),
            time_cam_us=camera_times_us(frame),
            world_T_ego=track.world_T_ego,
            world_T_ego_cam=at_cameras,
            seconds=time.monotonic() - since,
            input_hash=hash_images(images),
        )
        writer.write_frame(index, record)
        if (index + 1) % SAVE_STATE_EVERY == 0:
            _save(writer, streamer, fine, track, index)
        report(index + 1, len(scene.frames))


def _know(
    frame: Frame, work: WorkRig, track: Track
) -> tuple[Float[np.ndarray, "v 4 4"], Transform | None]:
    """By the dataset: each camera's world_T_cam, NaN where there is no image; last_T_ego."""
    ego_T_cam = np.stack([camera.ego_T_cam for camera in work.rig.cameras])
    return given_ego_poses(frame, work.rig) @ ego_T_cam, track.motion_to(frame.world_T_ego)


def _locate(
    frame: Frame,
    work: WorkRig,
    track: Track,
    ego_poses: EgoPoses,
    last_T_ego: Transform | None,
    gap_s: float,
) -> tuple[Transform, np.ndarray]:
    """world_T_ego at the frame's time and at each camera's.

    A predicted path starts at the dataset's first ego pose: that fixes the world frame, no more.
    """
    if ego_poses == "given":
        return frame.world_T_ego, given_ego_poses(frame, work.rig)
    if track.world_T_ego is None or last_T_ego is None:
        world_T_ego = frame.world_T_ego
    else:
        world_T_ego = track.world_T_ego @ last_T_ego
    return world_T_ego, chain_ego_poses(world_T_ego, last_T_ego, gap_s, frame)


def judge_frame(frame: Frame) -> Status:
    """How whole a frame's input was."""
    if all(view is None for view in frame.views):
        return "quarantined"
    if any(view is None for view in frame.views):
        return "partial"
    return "repaired" if frame.repairs else "ok"


def hash_images(images: Images) -> str:
    """sha256 of what the network saw."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(b"none" if image is None else image.tobytes())
    return digest.hexdigest()


def _save(
    writer: LogWriter, streamer: AnyStreamer, fine: FineLook, track: Track, index: int
) -> None:
    arrays = {f"network/{k}": v for k, v in streamer.save_state().items()}
    arrays |= {f"fine/{k}": v for k, v in fine.save_state().items()}
    arrays["track/world_T_ego"] = np.asarray(track.world_T_ego)
    arrays["track/time_us"] = np.array([track.time_us])
    writer.save_state(index, arrays)


def _resume(writer: LogWriter, streamer: AnyStreamer, fine: FineLook, track: Track) -> int:
    """Take up the state of a killed run; the first frame that is still to be predicted."""
    saved = writer.load_state()
    if saved is None or not set(range(saved[0] + 1)) <= writer.written():
        return 0
    index, arrays = saved
    rooms: dict[str, dict[str, np.ndarray]] = {"network": {}, "fine": {}, "track": {}}
    for name, array in arrays.items():
        room, leaf = name.split("/", 1)
        rooms[room][leaf] = array
    streamer.load_state(rooms["network"])
    fine.load_state(rooms["fine"])
    track.world_T_ego = rooms["track"]["world_T_ego"]
    track.time_us = int(rooms["track"]["time_us"][0])
    return index + 1
