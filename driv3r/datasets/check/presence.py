"""Which of a scene's files are there, and what was repaired, counted by kind."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from driv3r.datasets.check.results import RepairCount, SensorCheck
from driv3r.datasets.reader import Datum, FrameSources, LazyFrames
from driv3r.types import Frame, Repair, Scene

PLACES = re.compile(r"\S*/\S*|'[^']*'|\d[\d.,:e+-]*")  # what differs between repairs of one kind


class Tally:
    """Counts over a scene's frames: sensors that are there and open, repairs by kind."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.names = [camera.name for camera in scene.rig.cameras]
        self._present: Counter[str] = Counter()
        self._tried: Counter[str] = Counter()
        self._opened: Counter[str] = Counter()
        self._repairs = list(scene.repairs)
        self._poses: dict[int, np.ndarray] = {}

    def add_frame(self, index: int, frame: Frame) -> None:
        """A frame whose files were opened."""
        given = dict(zip(self.names, frame.views, strict=True)) | {"lidar": frame.sweep}
        self._tried.update(self._named(index, list(given)))
        opened = [name for name, datum in given.items() if datum is not None]
        self._opened.update(opened)
        self._present.update(opened)
        self._repairs += frame.repairs
        self._poses[index] = frame.world_T_ego

    def _named(self, index: int, names: list[str]) -> list[str]:
        """The sensors of which the tables name a file; all of them where nobody tells."""
        if not isinstance(self.scene.frames, LazyFrames):
            return names
        data = _data_of(self.scene.frames.sources(index), self.names)
        return [name for name, datum in data if not isinstance(datum, Repair)]

    def add_unopened(self, index: int) -> None:
        """What the tables say of a frame, and whether the files are there; unknown elsewhere."""
        frames = self.scene.frames
        if not isinstance(frames, LazyFrames):
            return
        sources = frames.sources(index)
        self._poses[index] = sources.world_T_ego
        for name, datum in _data_of(sources, self.names):
            if isinstance(datum, Repair):
                self._repairs.append(datum)
            elif datum.path.is_file():
                self._present[name] += 1
            else:
                self._repairs.append(Repair(name, f"the file is missing: {datum.path}"))

    def add_repairs(self, repairs: Sequence[Repair]) -> None:
        """Repairs of what belongs to no sensor's file."""
        self._repairs += repairs

    def sensors(self) -> tuple[tuple[SensorCheck, ...], SensorCheck | None]:
        """The cameras in the rig's order, and the LiDAR where there is one."""
        cameras = tuple(self._sensor(name) for name in self.names)
        has_lidar = self.scene.rig.ego_T_lidar is not None
        return cameras, self._sensor("lidar") if has_lidar else None

    def repairs(self) -> tuple[RepairCount, ...]:
        """The repairs by kind, the commonest first."""
        kinds: dict[str, list[Repair]] = {}
        for repair in self._repairs:
            kinds.setdefault(kind_of(repair), []).append(repair)
        counted = [
            RepairCount(kind, len(given), f"{given[0].where}: {given[0].reason}")
            for kind, given in kinds.items()
        ]
        return tuple(sorted(counted, key=lambda each: -each.count))

    def poses(self) -> tuple[Sequence[int], Float[np.ndarray, "k 4 4"]]:
        """The frames whose ego poses are known, in order, and world_T_ego of each."""
        indices = sorted(self._poses)
        return indices, np.array([self._poses[i] for i in indices]).reshape(-1, 4, 4)

    def _sensor(self, name: str) -> SensorCheck:
        return SensorCheck(
            name,
            len(self.scene.frames),
            self._present[name],
            self._tried[name],
            self._opened[name],
        )


def _data_of(sources: FrameSources, names: list[str]) -> list[tuple[str, Datum | Repair]]:
    given = [*zip(names, sources.cameras, strict=True)]
    return given if sources.lidar is None else [*given, ("lidar", sources.lidar)]


def kind_of(repair: Repair) -> str:
    """A repair's reason without the places and numbers in it, so that like ones are alike."""
    return re.sub(r"[\s:,]+$", "", PLACES.sub("...", repair.reason))
