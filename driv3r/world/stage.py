"""The moving things of a world at an instant, as one mesh that keeps its topology over time."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.world.casting import Corners, Surfaces, make_corners, make_scene
from driv3r.world.mesh import join
from driv3r.world.traffic import Actor, Drive, locate, make_frames

FIRST_ACTOR_INSTANCE = 100_000
MOVES_ABOVE_MPS = 0.3
REACH_M = 140.0
STEP_S = 0.01  # velocities are differences over this time


@dataclass(frozen=True, eq=False)
class Cast:
    """Actors in reach: their joined mesh in their own frames."""

    actors: tuple[int, ...]
    triangles: Int[np.ndarray, "m 3"]
    corners: Corners


@dataclass(frozen=True, eq=False)
class Stage:
    """The actors at one instant. `corners_later` are the triangles' corners STEP_S later."""

    surfaces: Surfaces | None
    world_T_actor: Float[np.ndarray, "a 4 4"]
    actor_moves: Bool[np.ndarray, "a"]
    corners_later: Float[np.ndarray, "m 3 3"]


class Theatre:
    """Makes stages; neighbouring instants share what does not change."""

    def __init__(self, actors: tuple[Actor, ...], ego: Drive):
        self.actors, self.ego = actors, ego
        drives = [actor.drive for actor in actors]
        self.time_s = ego.time_s
        self.tracks = [
            np.stack([getattr(drive, part) for drive in drives] or [np.zeros((len(ego.time_s), 3))])
            for part in ("origin", "ahead", "left")
        ]
        self.cast_of = lru_cache(maxsize=4)(self._join)
        self.at = lru_cache(maxsize=8)(self._make)

    def _join(self, chosen: tuple[int, ...]) -> Cast:
        meshes = [self.actors[i].phases[0] for i in chosen]
        joined = join(meshes, FIRST_ACTOR_INSTANCE)
        corners = make_corners(joined)
        instance = np.asarray(chosen)[corners.instance - FIRST_ACTOR_INSTANCE]
        corners = corners._replace(instance=instance + FIRST_ACTOR_INSTANCE)
        return Cast(chosen, joined.triangles, corners)

    def _frames(self, time_s: float) -> Float[np.ndarray, "a 4 4"]:
        """All actors' frames at a time."""
        k, part = locate(self.time_s, np.array(time_s))
        frames = make_frames(*(a[:, k] + part * (a[:, k + 1] - a[:, k]) for a in self.tracks))
        return frames[: len(self.actors)]

    def _make(self, time_s: float) -> Stage:
        world_T_actor, later_T_actor = self._frames(time_s), self._frames(time_s + STEP_S)
        here = self.ego.world_T_ego(time_s)[:3, 3]
        away = np.linalg.norm(world_T_actor[:, :3, 3] - here, axis=1)
        chosen = tuple(np.flatnonzero(away < REACH_M).tolist())
        step_m = later_T_actor[:, :3, 3] - world_T_actor[:, :3, 3]
        moves = np.linalg.norm(step_m, axis=1) > MOVES_ABOVE_MPS * STEP_S
        if not chosen:
            return Stage(None, world_T_actor, moves, np.zeros((0, 3, 3)))
        troupe = self.cast_of(chosen)
        vertices, normals = self._place(troupe, time_s, world_T_actor)
        later, _ = self._place(troupe, time_s + STEP_S, later_T_actor)
        a, b, c = (vertices[troupe.triangles[:, i]] for i in range(3))
        face = np.cross(b - a, c - a)
        face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-12
        corners = troupe.corners._replace(normals=normals[troupe.triangles], face=face)
        surfaces = Surfaces(make_scene(vertices, troupe.triangles), corners)
        return Stage(surfaces, world_T_actor, moves, later[troupe.triangles])

    def _place(self, troupe: Cast, time_s: float, world_T_actor: np.ndarray):
        """World vertices and normals of the troupe."""
        own = [self.actors[i].shape_at(time_s) for i in troupe.actors]
        vertices = np.concatenate([vertices for vertices, _ in own])
        normals = np.concatenate([normals for _, normals in own])
        turn = world_T_actor[np.asarray(troupe.actors)]
        out_v, out_n = np.empty_like(vertices), np.empty_like(normals)
        stops = np.cumsum([0, *(len(v) for v, _ in own)])
        for T, start, stop in zip(turn, stops[:-1], stops[1:], strict=True):
            out_v[start:stop] = vertices[start:stop] @ T[:3, :3].T + T[:3, 3]
            out_n[start:stop] = normals[start:stop] @ T[:3, :3].T
        return out_v, out_n


def velocity_of(
    stage: Stage, triangle: Int[np.ndarray, "n"], bary: Float[np.ndarray, "n 2"], point: np.ndarray
) -> Float[np.ndarray, "n 3"]:
    """World velocity (m/s) of points on actors: the same spot of the same triangle, later."""
    weights = np.concatenate([1 - bary.sum(1, keepdims=True), bary], 1)
    later = np.einsum("nk,nkc->nc", weights, stage.corners_later[triangle])
    return (later - point) / STEP_S
