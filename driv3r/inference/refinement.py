"""Track-based refinement and odometry on images finer than the network's."""

import math
from dataclasses import replace

import numpy as np

from driv3r.datasets.preprocess import WorkRig, prepare_images, resize_work
from driv3r.geometry.cameras import place_on_road
from driv3r.geometry.transforms import invert
from driv3r.tracking.depth_refinement import TrackRefiner
from driv3r.tracking.odometry import RigOdometry
from driv3r.types import EgoPoses, Frame, Images, Prediction, Refine, Transform

FINE_PIXELS = 256 * 448  # features need finer images than most networks
MULTIPLE = 32


def choose_fine_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """About FINE_PIXELS in nearly the aspect ratio of `size_hw`, sides multiples of MULTIPLE."""
    scale = math.sqrt(FINE_PIXELS / (size_hw[0] * size_hw[1]))
    h, w = (max(1, round(n * scale / MULTIPLE)) * MULTIPLE for n in size_hw)
    return h, w


def _move(dst_T_src: Transform, prev_T_curr: Transform | None) -> Transform | None:
    """The motion of frame `src` as that of a frame `dst` fixed to it."""
    if prev_T_curr is None or np.array_equal(dst_T_src, np.eye(4)):
        return prev_T_curr
    return dst_T_src @ prev_T_curr @ invert(dst_T_src)


class FrameRefiner:
    """Refines a log's predictions and estimates its motion, as configured.

    The finer images are the same crops of the recorded ones as `work`.
    """

    def __init__(self, work: WorkRig, refine: Refine, ego_poses: EgoPoses):
        self._size_hw = work.rig.cameras[0].size_hw
        self.work = resize_work(work, choose_fine_size(self._size_hw))
        # Motion is taken to be smooth at a point of the car: the same one wherever the origin lies.
        rig = place_on_road(self.work.rig)
        self.road_T_ego = np.eye(4)
        self.road_T_ego[2, 3] = -work.rig.ground_z_m
        self.refiner = TrackRefiner(rig) if refine == "tracks" else None
        self.odometry = RigOdometry(rig) if ego_poses == "odometry" else None

    @property
    def is_used(self) -> bool:
        """Whether finer images are looked at."""
        return self.refiner is not None or self.odometry is not None

    def prepare(self, frame: Frame, images: Images) -> Images:
        """The finer images of a frame, whose `images` the network sees; none where none are used.

        It may run in another thread, as it knows nothing of other frames.
        """
        if not self.is_used:
            return ()
        same = self.work.rig.cameras[0].size_hw == self._size_hw
        return images if same else prepare_images(frame, self.work)

    def refine(
        self, images: Images, prediction: Prediction, dt_s: float, known: Transform | None
    ) -> tuple[Prediction, Transform | None]:
        """The refined prediction, and prev_T_curr: odometry's where it succeeds.

        `images` are those of `prepare`; `known` is the dataset's own prev_T_curr, where that is
        used.
        """
        if not self.is_used:
            return prediction, prediction.prev_T_curr
        to_road, to_ego = self.road_T_ego, invert(self.road_T_ego)
        on_road = replace(prediction, prev_T_curr=_move(to_road, prediction.prev_T_curr))
        if self.refiner is not None:
            on_road = self.refiner.step(images, on_road, dt_s, _move(to_road, known))
        found = None
        if self.odometry is not None:
            found = self.odometry.step(images, on_road, dt_s, prior=None)
        refined = replace(on_road, prev_T_curr=_move(to_ego, on_road.prev_T_curr))
        return refined, refined.prev_T_curr if found is None else _move(to_ego, found)

    def save_state(self) -> dict[str, np.ndarray]:
        """The exact state that the next frame needs."""
        parts = {"refiner": self.refiner, "odometry": self.odometry}
        return {
            f"{name}.{key}": array
            for name, part in parts.items()
            if part is not None
            for key, array in part.save_state().items()
        }

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        for name, part in (("refiner", self.refiner), ("odometry", self.odometry)):
            if part is not None:
                own = {k.split(".", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}.")}
                part.load_state(own)
