"""Each frame of a log with what was written of it: the input of fusion and evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_shutters
from driv3r.datasets.read_ahead import read_ahead
from driv3r.errors import DatasetError
from driv3r.store.schema import FrameRecord
from driv3r.types import Boxes, Frame, Images, Prediction, Repair, Rig, RollingShutter, Scene


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One surround frame: the input, images and shutters at the working size, the written answer.

    `boxes` are annotated, None where there are none.
    """

    index: int
    frame: Frame
    images: Images
    record: FrameRecord
    rig: Rig
    shutters: Sequence[RollingShutter | None]
    boxes: Boxes | None = None


@dataclass(frozen=True, eq=False)
class FrameInput:
    """One surround frame as recorded, its images and shutters at the working size.

    `boxes` may be broken, and a Repair that says so.
    """

    index: int
    frame: Frame
    images: Images
    rig: Rig
    shutters: Sequence[RollingShutter | None]
    boxes: Boxes | Repair | None

    def answered(self, record: FrameRecord) -> StoredFrame:
        """With what was written of it."""
        frame, boxes = self.frame, self.boxes
        if isinstance(boxes, Repair):
            frame, boxes = replace(frame, repairs=(*frame.repairs, boxes)), None
        given = self.images, record, self.rig, self.shutters, boxes
        return StoredFrame(self.index, frame, *given)


def read_input(scene: Scene, work: WorkRig, index: int) -> FrameInput:
    """A frame of a log, decoded and resized."""
    frame, boxes = scene.frames[index], None
    try:
        boxes = None if scene.boxes is None else scene.boxes(index)
    except DatasetError as error:
        boxes = Repair("boxes", f"left out of scoring: {error}")
    images, shutters = prepare_images(frame, work), prepare_shutters(frame, work)
    return FrameInput(index, frame, images, work.rig, shutters, boxes)


def replay(
    scene: Scene,
    work: WorkRig,
    read_frame: Callable[[int], FrameRecord],
    until: int | None = None,
) -> Iterator[StoredFrame]:
    """Frames in order, all or those before one, as stored: as a reader will find them."""
    frames = range(len(scene.frames) if until is None else until)
    for index, given in read_ahead(partial(read_input, scene, work), frames):
        yield given.answered(read_frame(index))


def find_gaps(prediction: Prediction, extrapolated: bool) -> tuple[Repair, ...]:
    """What a frame's answer lacks although there was input, and what stands in its place."""
    gaps = [
        Repair(prediction.cameras[view].name, "no depth: nothing has told its scale yet")
        for view in sorted(prediction.unscaled_views)
    ]
    if extrapolated:
        gaps.append(Repair("ego motion", "none found: the car is taken to go on as before"))
    return tuple(gaps)


def describe_repair(repair: Repair) -> str:
    """A repair as a line."""
    return f"{repair.where}: {repair.reason}"
