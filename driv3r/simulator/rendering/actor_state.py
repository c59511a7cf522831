"""The moving things of a world at an instant: where they are, how they stand, how they move."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float

from driv3r.simulator.rendering.actor_geometry import Moving, PixelSet, make_scene, make_wardrobe
from driv3r.simulator.rendering.bvh import make_tree
from driv3r.simulator.scene.trajectories import Actor, Trajectory, locate, make_frames, pose_time

FIRST_ACTOR_INSTANCE = 100_000
MOVES_ABOVE_MPS = 0.3
REACH_M = 140.0
STEP_S = 0.01  # velocities are differences over this time
SHAPES = 256  # of things with limbs, kept


@dataclass(frozen=True, eq=False)
class Stage:
    """The actors at one instant, and where they are STEP_S later."""

    surfaces: Moving | None
    world_T_actor: Float[np.ndarray, "a 4 4"]
    actor_moves: Bool[np.ndarray, "a"]
    later: PixelSet


class ActorRenderer:
    """Makes stages. Shapes of rigid actors are built once, those of others for each step of theirs.

    Limbs move in steps of POSE_STEP_S, their bodies and all velocities smoothly.
    """

    def __init__(self, actors: tuple[Actor, ...], ego: Trajectory):
        self.actors, self.ego = actors, ego
        drives = [actor.trajectory for actor in actors]
        self.time_s = ego.time_s
        parts = ("origin", "ahead", "left")
        none = np.zeros((0, len(ego.time_s), 3))
        self.tracks = [np.array([getattr(d, part) for d in drives] or none) for part in parts]
        self.wardrobe, self.first_vertex, self.first_triangle = make_wardrobe(
            [actor.phases for actor in actors]
        )
        self.vertex_count = np.array([len(a.phases[0].vertices) for a in actors], np.int64)
        corners = [np.concatenate([mesh.vertices for mesh in a.phases]) for a in actors]
        self.own_low = np.array([c.min(0) for c in corners]).reshape(-1, 3)
        self.own_high = np.array([c.max(0) for c in corners]).reshape(-1, 3)
        self.walkers = [i for i, actor in enumerate(actors) if len(actor.phases) > 1]
        self.rigid_scene = lru_cache(maxsize=None)(self._make_rigid_scene)
        self.shape_scene = lru_cache(maxsize=SHAPES)(self._make_shape_scene)
        self.at = lru_cache(maxsize=8)(self._make)

    def _make_rigid_scene(self, first_triangle: int) -> EmbreeScene:
        """The scene of all actors whose shape starts at a triangle of the wardrobe."""
        thing = int(np.flatnonzero(self.first_triangle == first_triangle)[0])
        mesh = self.actors[thing].phases[0]
        return make_scene(mesh.vertices, mesh.triangles)

    def _make_shape_scene(self, thing: int, before: int, after: int, part: float) -> EmbreeScene:
        """The scene of a thing between two phases, told by their first vertices."""
        count, vertices = self.vertex_count[thing], self.wardrobe.vertices
        low, high = vertices[before : before + count], vertices[after : after + count]
        return make_scene(low + part * (high - low), self.actors[thing].phases[0].triangles)

    def places(self, time_s: float | Float[np.ndarray, "a"], later_s: float = 0.0) -> PixelSet:
        """All actors at a time, or each at its own; then a little later, limbs too."""
        times_s = np.broadcast_to(np.asarray(time_s, np.float64), (len(self.actors),))
        poses_s = pose_time(times_s) + later_s
        k, part = locate(self.time_s, times_s + later_s)
        here = np.arange(len(self.actors))
        frames = make_frames(
            *(a[here, k] + part[:, None] * (a[here, k + 1] - a[here, k]) for a in self.tracks)
        )
        before, after = self.first_vertex.copy(), self.first_vertex.copy()
        between = np.zeros(len(self.actors))
        for i in self.walkers:
            low, high, between[i] = self.actors[i].phase_at(float(poses_s[i]))
            before[i] += low * self.vertex_count[i]
            after[i] += high * self.vertex_count[i]
        return PixelSet(frames, before, after, between)

    def moving_at(self, time_s: float | Float[np.ndarray, "a"], chosen: np.ndarray) -> Moving:
        """Some actors (at least one) at a time, or each at its own."""
        places = self.places(time_s)
        tree = make_tree(self.own_low, self.own_high, places.world_T_thing, chosen)

        def own_scene(thing: int) -> EmbreeScene:
            if len(self.actors[thing].phases) == 1:
                return self.rigid_scene(int(self.first_triangle[thing]))
            stands = places.before[thing], places.after[thing], places.part[thing]
            return self.shape_scene(thing, *stands)

        return Moving(self.wardrobe, places, self.first_triangle, tree, own_scene)

    def centres(self, time_s: float) -> Float[np.ndarray, "a 3"]:
        """The middles of all actors' boxes."""
        frames = self.places(time_s).world_T_thing
        middle = 0.5 * (self.own_low + self.own_high)
        return np.einsum("nij,nj->ni", frames[:, :3, :3], middle) + frames[:, :3, 3]

    def near(self, time_s: float) -> np.ndarray:
        """The actors within reach of the ego car."""
        k, part = locate(self.time_s, np.array(time_s))
        origin = self.tracks[0][:, k] + part * (self.tracks[0][:, k + 1] - self.tracks[0][:, k])
        here = self.ego.world_T_ego(time_s)[:3, 3]
        return np.flatnonzero(np.linalg.norm(origin - here, axis=1) < REACH_M)

    def _make(self, time_s: float) -> Stage:
        chosen, later = self.near(time_s), self.places(time_s, STEP_S)
        moving = self.moving_at(time_s, chosen) if len(chosen) else None
        now = (self.places(time_s) if moving is None else moving.places).world_T_thing
        step_m = later.world_T_thing[:, :3, 3] - now[:, :3, 3]
        moves = np.linalg.norm(step_m, axis=1) > MOVES_ABOVE_MPS * STEP_S
        return Stage(moving, now, moves, later)
