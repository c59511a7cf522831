"""Stage two's food: each frame of a log with what was written of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from driv3r.datasets.working_size import WorkRig, prepare_images
from driv3r.fusion import FusedFrame
from driv3r.geometry.cameras import lift_depth
from driv3r.pipelines.predict import Images
from driv3r.store.schema import FrameRecord
from driv3r.types import Frame, Rig, Scene


@dataclass(frozen=True, eq=False)
class Moment:
    """One surround frame: the input, its images at the working size, and the written answer."""

    index: int
    frame: Frame
    images: Images
    record: FrameRecord
    rig: Rig


def replay(
    scene: Scene, work: WorkRig, read_frame: Callable[[int], FrameRecord]
) -> Iterator[Moment]:
    """All frames in order, as stored: what is fused and scored is what a reader will find."""
    for index in range(len(scene.frames)):
        frame = scene.frames[index]
        images = prepare_images(frame, work)
        yield Moment(index, frame, images, read_frame(index), work.rig)


def fused_frame(moment: Moment) -> FusedFrame:
    """The frame as world points for fusion."""
    prediction, record = moment.record.prediction, moment.record
    blank = np.zeros((*prediction.depth_m.shape[1:], 3), np.uint8)
    points_world = []
    for view, camera in enumerate(moment.rig.cameras):
        world_T_cam = record.world_T_ego_cam[view] @ camera.ego_T_cam
        points_world.append(lift_depth(camera, prediction.depth_m[view], world_T_cam))
    return FusedFrame(
        index=moment.index,
        time_us=record.time_cam_us,
        points_world=np.stack(points_world),
        depth_m=prediction.depth_m,
        sigma=prediction.sigma,
        motion=prediction.motion,
        rgb=np.stack([blank if image is None else image for image in moment.images]),
    )
