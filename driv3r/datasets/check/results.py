"""What a check of a dataset finds, as data: `driv3r datasets check` prints these."""

from dataclasses import asdict, dataclass
from typing import Any

from driv3r.datasets.check.boxes import BoxContent
from driv3r.datasets.check.edges import Agreement
from driv3r.datasets.check.road import Road
from driv3r.datasets.folder.rig_check import Finding


@dataclass(frozen=True)
class SensorCheck:
    """A sensor's data over a scene of `frames`: named by the tables with a file, and opened well.

    `present` counts frames whose file is there, or that opened; `tried` those that were opened, of
    which `opened` gave an image or a sweep.
    """

    name: str
    frames: int
    present: int
    tried: int
    opened: int

    @property
    def share(self) -> float:
        """Present of all frames, 0 to 1."""
        return self.present / self.frames if self.frames else 0.0


@dataclass(frozen=True)
class RepairCount:
    """How often a kind of repair was made, and one as it stands in reports."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True)
class SceneCheck:
    """What is there of a scene, and what looks wrong.

    `error` says why it can not be read at all. `fastest_mps` is the car's highest speed between two
    frames, NaN where poses are not known; `boxes` counts those of the frames that were looked at.
    """

    scene_id: str
    error: str | None = None
    frames: int = 0
    keyframes: int = 0
    seconds: float = 0.0
    fastest_mps: float = float("nan")
    cameras: tuple[SensorCheck, ...] = ()
    lidar: SensorCheck | None = None
    annotated_frames: int = 0
    boxes: int = 0
    repairs: tuple[RepairCount, ...] = ()
    findings: tuple[Finding, ...] = ()
    ground_z_m: float = 0.0
    road: Road | None = None
    edges: Agreement | None = None
    content: BoxContent | None = None

    @property
    def usable(self) -> bool:
        """Whether `driv3r process` would do it: it can be read, and has an image."""
        return self.error is None and any(camera.opened for camera in self.cameras)


@dataclass(frozen=True)
class SplitCheck:
    """A split's scenes here, or why there are none."""

    split: str
    scene_ids: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class DatasetCheck:
    """What is there of a dataset."""

    splits: tuple[SplitCheck, ...]
    scenes: tuple[SceneCheck, ...]

    @property
    def usable(self) -> int:
        """How many of the scenes that were looked at can be processed."""
        return sum(scene.usable for scene in self.scenes)

    @property
    def status(self) -> int:
        """0: all usable; 1: some are not; 2: none is."""
        if not self.usable:
            return 2
        return int(self.usable < len(self.scenes))

    def to_json(self) -> dict[str, Any]:
        """All of it as plain dictionaries; numbers that are not known are None."""
        content = asdict(self)
        for scene, checked in zip(content["scenes"], self.scenes, strict=True):
            scene["usable"] = checked.usable
        return _without_nan(content) | {"usable": self.usable, "status": self.status}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
