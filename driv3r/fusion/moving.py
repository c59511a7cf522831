"""The moving world as time-stamped clusters on tracks."""

import numpy as np
from jaxtyping import Float32

from driv3r.errors import ConfigError
from driv3r.fusion.clusters import Cluster, find_clusters
from driv3r.fusion.evidence import FusedFrame, FusionConfig
from driv3r.fusion.tracks import fit_velocities, link_tracks
from driv3r.types import MovingObjects


class MovingFusion:
    """Finds the moving clusters of each frame as it comes, and links them when asked.

    Frames may come in any order and parts may be merged. Memory: a few hundred points per cluster.
    """

    def __init__(self, config: FusionConfig):
        self.config = config
        self._found: dict[int, tuple[list[Cluster], Float32[np.ndarray, "u 3"]]] = {}

    def add(self, frame: FusedFrame) -> None:
        """Find the frame's clusters; a frame that was added before raises ConfigError."""
        self._refuse_repeats({frame.index})
        self._found[frame.index] = find_clusters(frame, self.config)

    def merge(self, other: "MovingFusion") -> None:
        """Take in another's frames; ConfigError for other settings or a frame that both have."""
        if other.config != self.config:
            raise ConfigError(
                f"moving objects of different settings can not be merged: {self.config} and "
                f"{other.config}; fuse all parts of a log with one config"
            )
        self._refuse_repeats(set(other._found))
        self._found |= other._found

    def result(self) -> MovingObjects:
        """States by frame and track, tracks numbered in order of appearance; points by state."""
        frames = sorted(self._found)
        tracks = link_tracks([c for f in frames for c in self._found[f][0]], self.config)
        states = sorted(
            (
                (cluster, track_id, velocity)
                for track_id, track in enumerate(tracks)
                for cluster, velocity in zip(
                    track, fit_velocities(track, self.config.velocity_window_s), strict=True
                )
            ),
            key=lambda state: (state[0].frame, state[1]),
        )
        clusters = [cluster for cluster, _, _ in states]
        unassigned = [self._found[f][1] for f in frames]
        lengths = [len(c.points_world) for c in clusters] + [sum(len(u) for u in unassigned)]
        return MovingObjects(
            track_id=np.array([track_id for _, track_id, _ in states], np.int64),
            frame=np.array([c.frame for c in clusters], np.int32),
            time_us=np.array([c.time_us for c in clusters], np.int64),
            center_world=_rows([c.center_world for c in clusters]),
            size_m=_rows([c.size_m for c in clusters]),
            velocity_world_mps=_rows([velocity for _, _, velocity in states]),
            points_world=np.concatenate(
                [np.zeros((0, 3), np.float32), *(c.points_world for c in clusters), *unassigned]
            ),
            points_state=np.repeat(
                np.array([*range(len(clusters)), -1], np.int32), np.array(lengths, np.int64)
            ),
        )

    def _refuse_repeats(self, frames: set[int]) -> None:
        repeated = sorted(frames & self._found.keys())
        if repeated:
            raise ConfigError(f"frames {repeated} were added before; add all views of a frame once")


def _rows(vectors: list[np.ndarray]) -> np.ndarray:
    return np.array(vectors, np.float64).reshape(-1, 3)
