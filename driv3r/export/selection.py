"""What of a log is exported: chosen once, before any format sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int64

from driv3r.errors import ConfigError
from driv3r.store.reader import LogStore
from driv3r.types import MovingObjects, StaticMap

Layer = Literal["static", "moving", "path", "cameras"]
ImageUse = Literal["none", "copy", "undistort"]
LAYERS: tuple[Layer, ...] = get_args(Layer)


@dataclass(frozen=True)
class ExportSelection:
    """What to export.

    `min_weight`: least weight (sum of integer confidences) of a static voxel. `frames`: first frame
    and the one after the last, as a Python slice; None is open. It chooses poses, views, states of
    objects, and voxels that were seen at any time within. `crop_world_m`: x0, y0, z0, x1, y1, z1 in
    metres of the log's world, for voxels and for the centres of objects. `images` of `root`, the
    dataset's folder, go along as they are ("copy") or without lens distortion ("undistort"). Raises
    ConfigError for what no log can have.
    """

    min_weight: int = 0
    frames: tuple[int | None, int | None] = (None, None)
    layers: tuple[Layer, ...] = LAYERS
    crop_world_m: tuple[float, ...] | None = None
    images: ImageUse = "none"
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.images not in get_args(ImageUse):
            raise ConfigError(
                f"--images {self.images}: expected one of {', '.join(get_args(ImageUse))}"
            )
        if self.images != "none" and self.root is None:
            raise ConfigError(
                f"--images {self.images} needs the dataset's folder, where the images lie: give "
                "--root; without --images none are read"
            )
        if self.crop_world_m is not None:
            _check_crop(self.crop_world_m)


def _check_crop(crop: tuple[float, ...]) -> None:
    finite = len(crop) == 6 and bool(np.isfinite(crop).all())
    if not finite or any(low >= high for low, high in zip(crop[:3], crop[3:], strict=True)):
        raise ConfigError(
            f"--crop {','.join(f'{x:g}' for x in crop)}: expected x0,y0,z0,x1,y1,z1 in metres of "
            "the log's world, each low below its high, such as -20,-20,-1,20,20,4"
        )


def parse_frames(text: str) -> tuple[int | None, int | None]:
    """First frame and the one after the last, of "A:B", "A:", ":B" or "A"; else ConfigError."""
    start, colon, stop = text.partition(":")
    try:
        first = int(start) if start else None
        if not colon:
            return int(start), int(start) + 1 or None
        return first, int(stop) if stop else None
    except ValueError as error:
        raise ConfigError(
            f"--frames {text!r}: expected A:B, A:, :B or A, as Python counts: 0:10 is the first ten"
        ) from error


def parse_layers(text: str) -> tuple[Layer, ...]:
    """Layers, with commas between; ConfigError where a word is none, or there is none."""
    words = [word.strip() for word in text.split(",")]
    if not set(words) <= set(LAYERS):
        raise ConfigError(f"--layers {text!r}: expected some of {','.join(LAYERS)}, as they are")
    return tuple(layer for layer in LAYERS if layer in words)


def parse_crop(text: str) -> tuple[float, ...]:
    """Six numbers with commas between; ConfigError where they are none."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--crop {text!r}: expected six numbers x0,y0,z0,x1,y1,z1 in metres of the log's world"
        ) from error


@dataclass(frozen=True, eq=False)
class SelectedLog:
    """A log and what of it is exported. What was not asked for is empty.

    `frames` are the numbers of the chosen frames, in order. `world_T_ego` is the car at their
    times, NaN where it is not known. Track numbers stay what they are in the store.
    """

    store: LogStore
    selection: ExportSelection
    layers: tuple[Layer, ...]
    frames: range
    static: StaticMap
    moving: MovingObjects
    world_T_ego: Float[np.ndarray, "t 4 4"]

    @property
    def time_us(self) -> Int64[np.ndarray, "t"]:
        """Times of the chosen frames."""
        return self.store.time_us[self.frames.start : self.frames.stop]

    @property
    def known_frames(self) -> list[tuple[int, int, Float[np.ndarray, "4 4"]]]:
        """Number, time_us and world_T_ego of every chosen frame whose pose is known."""
        known = np.isfinite(self.world_T_ego).all((1, 2))
        rows = zip(self.frames, self.time_us, self.world_T_ego, known, strict=True)
        return [(frame, int(time), pose) for frame, time, pose, is_known in rows if is_known]

    def count_unknown_poses(self) -> int:
        """How many of the chosen frames have no pose."""
        return len(self.frames) - len(self.known_frames)


def select(store: LogStore, selection: ExportSelection) -> SelectedLog:
    """Apply a selection to a log.

    Layers that the log does not have are left out: one that was not fused has no static map and no
    moving objects. Raises ConfigError where no frame is chosen, StoreError on a damaged log.
    """
    frames = range(len(store.time_us))[slice(*selection.frames)]
    if not len(frames):
        raise ConfigError(
            f"--frames {selection.frames} chooses none of the {len(store.time_us)} frames "
            f"(0 to {len(store.time_us) - 1}) of log {store.log_id}"
        )
    fused = store.reconstruction()
    layers: tuple[Layer, ...] = tuple(
        layer for layer in selection.layers if fused or layer not in ("static", "moving")
    )
    world_T_ego = store.world_T_ego()[frames.start : frames.stop]
    static = fused.static if fused else _no_voxels()
    moving = fused.moving if fused else _no_objects()
    return SelectedLog(
        store,
        selection,
        layers,
        frames,
        static.take(_choose_voxels(static, selection, frames) & ("static" in layers)),
        _take_states(moving, _choose_states(moving, selection, frames) & ("moving" in layers)),
        world_T_ego,
    )


def _choose_voxels(static: StaticMap, selection: ExportSelection, frames: range) -> np.ndarray:
    chosen = static.weight >= selection.min_weight
    if selection.frames != (None, None):
        chosen &= (static.last_frame >= frames.start) & (static.first_frame < frames.stop)
    return chosen & _is_inside(static.points_world, selection.crop_world_m)


def _choose_states(moving: MovingObjects, selection: ExportSelection, frames: range) -> np.ndarray:
    chosen = (moving.frame >= frames.start) & (moving.frame < frames.stop)
    return chosen & _is_inside(moving.world_T_object[:, :3, 3], selection.crop_world_m)


def _is_inside(points: np.ndarray, crop: Sequence[float] | None) -> np.ndarray:
    if crop is None:
        return np.ones(len(points), bool)
    return ((points >= crop[:3]) & (points <= crop[3:])).all(-1)


def _take_states(moving: MovingObjects, states: np.ndarray) -> MovingObjects:
    """Some states, and the points of the tracks that have any left."""
    points = np.isin(moving.points_track, moving.track_id[states])
    rows = {
        f.name: getattr(moving, f.name)[points if f.name.startswith("points_") else states]
        for f in fields(moving)
        if f.name not in ("size_m", "quality")
    }
    return replace(moving, **rows)


def _no_voxels() -> StaticMap:
    axes, rows = np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    return StaticMap(
        0.2, axes, axes.astype(np.uint8), rows, rows, rows, axes.astype(np.uint8),
        axes.astype(np.int8), rows, rows,
    )  # fmt: skip


def _no_objects() -> MovingObjects:
    rows, axes, place = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 4, 4))
    return MovingObjects(
        rows, rows, rows, place, axes, np.zeros(0), rows.astype(bool), axes, np.zeros(0), axes,
        axes.astype(np.uint8), rows,
    )  # fmt: skip
