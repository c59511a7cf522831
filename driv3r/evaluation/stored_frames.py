"""Each frame of a log with what was written of it: the input of fusion and evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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


def replay(
    scene: Scene, work: WorkRig, read_frame: Callable[[int], FrameRecord]
) -> Iterator[StoredFrame]:
    """All frames in order, as stored: what is fused and scored is what a reader will find."""

    def read(index: int) -> tuple[Frame, Boxes | None, Images, Sequence[RollingShutter | None]]:
        frame, boxes = scene.frames[index], None
        try:
            boxes = None if scene.boxes is None else scene.boxes(index)
        except DatasetError as error:
            repair = Repair("boxes", f"left out of scoring: {error}")
            frame = replace(frame, repairs=(*frame.repairs, repair))
        return frame, boxes, prepare_images(frame, work), prepare_shutters(frame, work)

    for index, (frame, boxes, images, shutters) in read_ahead(read, range(len(scene.frames))):
        yield StoredFrame(index, frame, images, read_frame(index), work.rig, shutters, boxes)


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
