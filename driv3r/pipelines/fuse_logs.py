"""Finished logs of one place to a joint map: `driv3r fuse`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from driv3r.errors import StoreError
from driv3r.fusion import FrameWindow, FusedFrame, FusionConfig
from driv3r.fusion.visits import MapTile, Visit, fuse_visits, measure_gap, place_map
from driv3r.geometry.transforms import make_transform
from driv3r.store.map_store import Rows, write_map
from driv3r.store.reader import LogStore

Report = Callable[[str, str, int, int], None]
HELD_FRAMES = 2  # each is looked at once


@dataclass(frozen=True)
class Overlap:
    """How two logs' maps agree: median distance along the normals, of voxels within a metre."""

    first: str
    second: str
    gap_m: float
    voxels: int


@dataclass(frozen=True)
class JointMap:
    """What was written: logs in order of time, voxels by change, and how the logs agree."""

    path: Path
    logs: tuple[str, ...]
    changes: dict[str, int]
    overlaps: tuple[Overlap, ...]


def fuse_logs(
    paths: Sequence[Path],
    out: Path,
    replace: bool = False,
    report: Report = lambda log, stage, done, total: None,
) -> JointMap:
    """Join the static maps of finished logs by their poses, and mark what has changed.

    The world is that of the earliest log. Raises StoreError for logs that can not be joined:
    of different datasets or voxel sizes, without a map or poses, given twice; for an `out` that is
    there.
    """
    stores = sorted(map(LogStore.open, paths), key=lambda s: (int(s.time_us[0]), s.log_id))
    config = FusionConfig(voxel_m=_check_alike(stores))
    origin = np.array(stores[0].header.origin_world)
    visits = [_make_visit(store, origin, number) for number, store in enumerate(stores)]
    frames = {store.log_id: len(store.time_us) for store in stores}
    tiles = fuse_visits(visits, config, lambda log, done: report(log, "compare", done, frames[log]))
    logs = tuple(store.log_id for store in stores)
    overlaps = tuple(_list_overlaps(stores))
    attributes = {
        "logs": logs,
        "header_hashes": [store.header_hash for store in stores],
        "voxel_m": config.voxel_m,
        "origin_world": origin.tolist(),
        "overlaps": [vars(overlap) for overlap in overlaps if overlap.voxels],
    }
    changes = write_map(out, _list_rows(tiles), attributes, replace)
    return JointMap(Path(out), logs, changes, overlaps)


def _check_alike(stores: Sequence[LogStore]) -> float:
    """The voxel size of all logs."""
    for what, of in {
        "a static map": [store.count_voxels() > 0 for store in stores],
        "another name than the other logs": [
            [s.log_id for s in stores].count(store.log_id) == 1 for store in stores
        ],
        "metric scale": [store.scale == "metric" for store in stores],
        "a file of poses in a world that others share": [_is_placed(store) for store in stores],
    }.items():
        if not all(of):
            raise StoreError(f"{stores[of.index(False)].path} can not be joined: it needs {what}")
    for what in ("dataset", "voxel_m"):
        values = {str(store.path): _value_of(store, what) for store in stores}
        if len(set(values.values())) > 1:
            raise StoreError(f"logs of one {what} can be joined; given: {values}")
    return stores[0].voxel_m


def _is_placed(store: LogStore) -> bool:
    """Not where a folder's log begins at the identity: so do those that nobody gave poses for."""
    at_identity = (store.world_T_ego()[0] == np.eye(4)).all()
    return not (store.header.dataset == "folder" and at_identity)


def _value_of(store: LogStore, what: str) -> object:
    return store.voxel_m if what == "voxel_m" else store.header.dataset


def _make_visit(store: LogStore, origin: Float[np.ndarray, "3"], number: int) -> Visit:
    shift_m = np.array(store.header.origin_world) - origin
    window = FrameWindow(store.time_us, lambda i: read_fused(store, i, shift_m), HELD_FRAMES)
    return Visit(store.log_id, lambda: place_map(store.static(), shift_m, number), window)


def read_fused(store: LogStore, index: int, shift_m: Float[np.ndarray, "3"]) -> FusedFrame:
    """A stored frame moved by `shift_m`, without its images."""
    cameras = store.rig.cameras
    frame = FusedFrame.of_record(
        index, int(store.time_us[index]), cameras, store.record(index), [None] * len(cameras)
    )
    map_T_log = make_transform(np.eye(3), shift_m)
    return replace(
        frame,
        world_T_cam=map_T_log @ frame.world_T_cam,
        world_T_ego=map_T_log @ frame.world_T_ego,
    )


def _list_overlaps(stores: Sequence[LogStore]) -> Iterator[Overlap]:
    for number, first in enumerate(stores):
        static = first.static()
        for second in stores[number + 1 :]:
            shift_m = np.array(second.header.origin_world) - np.array(first.header.origin_world)
            gap_m, voxels = measure_gap(static, second.static(), shift_m)
            yield Overlap(first.log_id, second.log_id, gap_m, voxels)


def _list_rows(tiles: Iterator[MapTile]) -> Iterator[Rows]:
    for tile in tiles:
        static = {name: value for name, value in vars(tile.static).items() if name != "voxel_m"}
        yield static | {"visits": tile.visits, "change": tile.change}
