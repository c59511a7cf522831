"""Initialisation of an alignment along a spanning tree of pairs (Wang et al. 2024, 3.3)."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from driv3r.alignment.focal import fit_focal
from driv3r.alignment.pnp import solve_pnp, solve_pnp_unknown_focal
from driv3r.alignment.pointmaps import FixedCameras, InitialCameras, PairPoints, centre_of, make_K
from driv3r.alignment.similarity import register_points
from driv3r.errors import GeometryError
from driv3r.geometry.transforms import apply
from driv3r.types import Transform


def order_tree(
    pairs: Int[np.ndarray, "e 2"], score: Float[np.ndarray, "e"], images: int
) -> list[int]:
    """The pairs of the spanning tree of highest score, each one next to an earlier one.

    Begins with the best pair. GeometryError where the pairs leave images unconnected.
    """
    best: dict[tuple[int, int], int] = {}
    for k in np.argsort(score, kind="stable"):  # of two orders of a pair the better one stays
        best[int(pairs[k].min()), int(pairs[k].max())] = int(k)
    ends = np.array(list(best))
    # scipy takes a weight of 0 for no edge; all of these are below it
    costs = -(score[list(best.values())] - score.min() + 1.0)
    graph = coo_matrix((costs, (ends[:, 0], ends[:, 1])), shape=(images, images))
    parts, part = connected_components(graph, directed=False)
    if parts > 1:
        raise GeometryError(
            f"the pairs fall into {parts} groups of images {part.tolist()}; expected one: add "
            "pairs between them"
        )
    tree = minimum_spanning_tree(graph).tocoo()
    left = [best[int(a), int(b)] for a, b in zip(tree.row, tree.col, strict=True)]
    left.sort(key=lambda k: (-score[k], k))
    order, placed = [left[0]], set(pairs[left[0]].tolist())
    while len(order) < len(left):
        following = next(k for k in left if len(placed & set(pairs[k].tolist())) == 1)
        order.append(following)
        placed |= set(pairs[following].tolist())
    return order


def initialise_from_tree(
    pairs: PairPoints, given: FixedCameras
) -> tuple[InitialCameras, Float[np.ndarray, "v h w 3"]]:
    """Cameras and world points to begin from: the tree's pairs, each put in place by a similarity.

    Focal lengths come from the pointmaps in the cameras' own frames; a camera that is first in none
    of the tree's pairs gets its pose by PnP. With known poses all is moved to fit these best.
    """
    weight = pairs.weights()
    score = weight.mean((-1, -2)).prod(-1)
    if not score.max() > 0:
        raise GeometryError("no pair has confidence above 1 in both images: nothing to align")
    points, poses = _traverse(pairs, weight, order_tree(pairs.pairs, score, pairs.images))
    has_K, has_pose = given.known_masks(pairs.images)
    K, world_T_cam = np.zeros((pairs.images, 3, 3)), np.zeros((pairs.images, 4, 4))
    for i in range(pairs.images):
        known = given.K[i] if given.K is not None and has_K[i] else _find_K(pairs, weight, score, i)
        K[i], world_T_cam[i] = _find_camera(points[i], poses.get(i), known)
    world_T_cam, scale, given_T_grown = anchor_to_known_poses(world_T_cam, given)
    points = np.stack([apply(given_T_grown, scale * each) for each in points])
    return InitialCameras(K, world_T_cam, has_K, has_pose), points


def anchor_to_known_poses(
    grown_T_cam: Float[np.ndarray, "v 4 4"], given: FixedCameras
) -> tuple[Float[np.ndarray, "v 4 4"], float, Transform]:
    """world_T_cam as given where it is, with the rest moved along, by a scale and world_T_grown."""
    _, has_pose = given.known_masks(len(grown_T_cam))
    if given.world_T_cam is None or not has_pose.any():
        return grown_T_cam, 1.0, np.eye(4)
    scale, world_T_grown = fit_poses(given.world_T_cam[has_pose], grown_T_cam[has_pose])
    scaled = grown_T_cam.copy()
    scaled[:, :3, 3] *= scale
    world_T_cam = world_T_grown @ scaled
    world_T_cam[has_pose] = given.world_T_cam[has_pose]
    return world_T_cam, scale, world_T_grown


def fit_poses(
    known_T_cam: Float[np.ndarray, "n 4 4"],
    world_T_cam: Float[np.ndarray, "n 4 4"],
) -> tuple[float, Transform]:
    """Scale s and known_T_world that bring cameras near their known poses; s = 1 from one place.

    The rotation is the chordal mean of the cameras' own, so that it is determined on a straight
    path as well. GeometryError where the places do not fit under any scale.
    """
    turns = np.einsum("nij,nkj->ik", known_T_cam[:, :3, :3], world_T_cam[:, :3, :3])
    u, _, vt = np.linalg.svd(turns)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    known, found = known_T_cam[:, :3, 3], world_T_cam[:, :3, 3]
    known_apart, found_apart = known - known.mean(0), (found - found.mean(0)) @ rotation.T
    scale = 1.0
    if np.abs(known_apart).max() > 1e-6:
        # The known places are exact, the found ones are not: regress found on known.
        shrink = (known_apart * found_apart).sum() / (known_apart**2).sum()
        if not shrink > 0:
            raise GeometryError(
                "the known camera places and those of the pointmaps do not fit under any scale: "
                "check world_T_cam (camera to world, OpenCV axes)"
            )
        scale = float(1.0 / shrink)
    known_T_world = np.eye(4)
    known_T_world[:3, :3] = rotation
    known_T_world[:3, 3] = known.mean(0) - scale * rotation @ found.mean(0)
    return scale, known_T_world


def _traverse(
    pairs: PairPoints, weight: Float[np.ndarray, "e 2 h w"], order: list[int]
) -> tuple[Float[np.ndarray, "v h w 3"], dict[int, Transform]]:
    """World points of every image, and poses of the cameras that were first in a pair."""
    first, second = (int(i) for i in pairs.pairs[order[0]])
    points = np.zeros((pairs.images, *pairs.size_hw, 3))
    points[first], points[second] = pairs.points[order[0]]
    poses = {first: np.eye(4)}
    placed = {first, second}
    for k in order[1:]:
        ends = [int(i) for i in pairs.pairs[k]]
        there = 0 if ends[0] in placed else 1
        found = register_points(points[ends[there]], pairs.points[k, there], weight[k, there])
        points[ends[1 - there]] = found.move(pairs.points[k, 1 - there].astype(np.float64))
        poses.setdefault(ends[0], found.ref_T_local)
        placed |= set(ends)
    return points, poses


def _find_K(pairs: PairPoints, weight, score, image: int) -> Float[np.ndarray, "3 3"] | None:
    """From the best pair in which the image is first; None where there is no such pair."""
    own = np.flatnonzero(pairs.pairs[:, 0] == image)
    if len(own) == 0:
        return None
    best = own[np.argmax(score[own])]
    centre = centre_of(pairs.size_hw)
    return make_K(fit_focal(pairs.points[best, 0], centre, weight[best, 0]), centre)


def _find_camera(
    points_world: Float[np.ndarray, "h w 3"],
    world_T_cam: Transform | None,
    K: Float[np.ndarray, "3 3"] | None,
) -> tuple[Float[np.ndarray, "3 3"], Transform]:
    """What is not known yet of a camera, by PnP."""
    if K is None:
        centre = centre_of((points_world.shape[0], points_world.shape[1]))
        found, focal_px = solve_pnp_unknown_focal(points_world, centre)
        return make_K(focal_px, centre), found.ref_T_cam
    if world_T_cam is None:
        return K, solve_pnp(points_world, K).ref_T_cam
    return K, world_T_cam
