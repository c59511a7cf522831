"""The annotated boxes of an Argoverse 2 log; its table is read when first asked for."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from driv3r.datasets.argoverse2.tables import PLACE, read_table, stack
from driv3r.datasets.boxes import LARGEST_M, with_velocities
from driv3r.datasets.reader import make_pose
from driv3r.errors import DatasetError
from driv3r.types import Boxes, BoxesOf

SIZE = ("length_m", "width_m", "height_m")


class Annotations:
    """Boxes by frame, of annotations.feather, which has them in the ego frame of a sweep's time.

    `sweeps_ns` are the frames' sweeps by their names, None of frames without.
    """

    def __init__(
        self,
        path: Path,
        sweeps_ns: Sequence[int | None],
        world_T_ego: Float[np.ndarray, "t 4 4"],
        time_us: Int64[np.ndarray, "t"],
    ) -> None:
        self._path, self._sweeps_ns = path, sweeps_ns
        self._world_T_ego, self._time_us = world_T_ego, time_us

    def boxes(self, frame: int) -> Boxes | None:
        """The boxes of a frame in the world of its log, None where its sweep is not annotated.

        Raises DatasetError where the table is broken or is of other times than the sweeps.
        """
        return self._boxes(frame)

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        whole, texts = ("timestamp_ns",), ("track_uuid", "category")
        return read_table(self._path, (*SIZE, *PLACE), whole, texts)

    @cached_property
    def _boxes(self) -> BoxesOf:
        known = set(self._table["timestamp_ns"].tolist())
        annotated = [i for i, sweep_ns in enumerate(self._sweeps_ns) if sweep_ns in known]
        if known and not annotated:
            sweep_ns = next((each for each in self._sweeps_ns if each is not None), None)
            raise DatasetError(
                f"no row of {self._path} is of a sweep's time: the first timestamp_ns is "
                f"{min(known)}, the first sweep {sweep_ns}; fetch the log's files again"
            )
        return with_velocities(self._read, annotated, self._time_us)

    def _read(self, frame: int) -> Boxes:
        table = self._table
        rows = np.flatnonzero(table["timestamp_ns"] == self._sweeps_ns[frame])
        where = f"{self._path}, sweep {self._sweeps_ns[frame]}"
        tracks = [str(track) for track in table["track_uuid"][rows]]
        twice = [track for track, count in Counter(tracks).items() if count > 1]
        if twice:
            raise DatasetError(f"{where} annotates track {twice[0]} twice; remove the wrong row")
        size_m, places = stack(table, SIZE)[rows], stack(table, PLACE)[rows]
        possible = np.isfinite(size_m) & (size_m >= 0) & (size_m <= LARGEST_M)
        if not possible.all():
            wrong = size_m[~possible.all(axis=1)][0].tolist()
            raise DatasetError(
                f"{where}: a box of size {wrong}, expected 0 to {LARGEST_M:g} m a side; give metres"
            )
        world_T_box = np.zeros((len(rows), 4, 4))
        for i, place in enumerate(places):
            ego_T_box = make_pose(place[:4].tolist(), place[4:].tolist(), where)
            world_T_box[i] = self._world_T_ego[frame] @ ego_T_box
        labels = tuple(str(label) for label in table["category"][rows])
        return Boxes(tuple(tracks), labels, world_T_box, size_m, np.full((len(rows), 3), np.nan))
