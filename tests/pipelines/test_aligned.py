"""Lookers that align: networks that know a rendered street, with noise and units of their own."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from driv3r.alignment.focal import fit_focal
from driv3r.alignment.similarity import register_points
from driv3r.geometry.cameras import lift_depth
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert
from driv3r.inference.global_alignment import ALIGN, GlobalAlignmentAdapter
from driv3r.inference.metric_scale import RigScaleEstimator, ScaleEstimator, UnscaledPrediction
from driv3r.inference.optical_flow import choose_flow
from driv3r.inference.slam3r import Slam3rAdapter
from driv3r.inference.window_adapters import PairwiseAdapter
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.published.slam3r import ImagesToPoints, LocalToWorld
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world
from driv3r.types import Rig

SIZE_HW = (64, 112)
TIMES_S = (0.5, 0.9, 1.3, 1.7)
NOISE, OUTLIERS = 0.01, 0.02
CPU = torch.device("cpu")
DIS = choose_flow("dis", CPU)
EVERYONE = np.ones(2, bool)


class Street(NamedTuple):
    """Two cameras of a car in a generated suburb at four times: pixels, depth, places."""

    rig: Rig
    images: torch.Tensor  # t v 3 h w
    depth_m: np.ndarray  # t v h w, NaN for the sky
    still: np.ndarray  # t v h w
    world_T_cam: np.ndarray  # t v 4 4

    def points_world(self, k: int) -> np.ndarray:
        """World points of an image, numbered over times and cameras."""
        t, v = divmod(k, 2)
        return lift_depth(self.rig.cameras[v], self.depth_m[t, v], self.world_T_cam[t, v])

    def last_T_cam(self, t: int) -> np.ndarray:
        """How both cameras moved."""
        return invert(self.world_T_cam[t - 1]) @ self.world_T_cam[t]


@pytest.fixture(scope="module")
def street() -> Street:
    rig = make_rig(SIZE_HW)
    rig = Rig(tuple(rig.cameras[:2]), rig.ego_T_lidar)
    renderer = Renderer(make_world(31, 3.0, "suburb"))
    frames = [render_frame(renderer, rig, time_s) for time_s in TIMES_S]
    images = np.stack([[truth.image for truth, _ in frame] for frame in frames])
    depth_m = np.stack([[truth.depth_m for truth, _ in frame] for frame in frames])
    return Street(
        rig,
        torch.from_numpy(images).movedim(-1, -3).float() / 255,
        np.where((depth_m > 0) & (depth_m < 150), depth_m, np.nan).astype(np.float64),
        np.stack([[~truth.moving for truth, _ in frame] for frame in frames]),
        np.stack([[world_T_cam for _, world_T_cam in frame] for frame in frames]),
    )


class Oracle:
    """Recognises images of the street and tells their points, with noise and outliers."""

    prior_embedding = prior = None

    def __init__(self, street: Street):
        torch.nn.Module.__init__(self)  # type: ignore[arg-type]
        self.street, self.rng = street, np.random.default_rng(0)
        self.marks = (2 * street.images - 1).flatten(0, 1).mean((1, 2, 3))

    def recognise(self, image: torch.Tensor) -> int:
        """The image's number."""
        return int((self.marks - image.mean()).abs().argmin())

    def tell(self, k: int, reference: int, unit: float) -> tuple[np.ndarray, np.ndarray]:
        """Points of an image in the camera of another, in a unit, and confidence."""
        ref_T_world = invert(self.street.world_T_cam[divmod(reference, 2)])
        points = apply(ref_T_world, self.street.points_world(k))
        noise = 1 + self.rng.normal(0, NOISE, points.shape[:2])
        noise = np.where(self.rng.random(noise.shape) < OUTLIERS, 0.5, noise)
        seen = np.isfinite(points[..., 2])
        points = np.where(seen[..., None], unit * points * noise[..., None], 10.0)
        return points, np.where(seen, 6.0, 1.0)

    def describe(self, k: int) -> np.ndarray:
        """Descriptors that equal world points share."""
        waves = np.random.default_rng(1).normal(0, 1.5, (3, 8))
        phase = np.nan_to_num(self.street.points_world(k)) @ waves
        return np.concatenate([np.cos(phase), np.sin(phase)], -1) / np.sqrt(8)


class PairOracle(Oracle, PairNet):
    """A pair network; every pair has a unit of its own."""

    def forward(self, first, second, priors):
        ends = [self.recognise(first), self.recognise(second)]
        unit = self.rng.uniform(0.05, 0.2)
        answers = []
        for k in ends:
            points, sure = self.tell(k, ends[0], unit)
            parts = (points, sure, self.describe(k), sure)
            answers.append(PointAnswer(*(torch.from_numpy(p[None]).float() for p in parts)))
        return tuple(answers)


class WindowOracle(Oracle, ImagesToPoints):
    """SLAM3R's first network; every window has a unit of its own. Tokens are images' numbers."""

    def encode(self, images):
        return torch.tensor([[[[float(self.recognise(i))]] for i in images[0]]])

    def relate(self, tokens, references, size_hw, extra=None):
        numbers, unit = [int(k) for k in tokens[0, :, 0, 0]], self.rng.uniform(0.05, 0.2)
        answers = [self.tell(k, numbers[references[0]], unit) for k in numbers]
        points, sure = (
            torch.from_numpy(np.stack(p)[None]).float() for p in zip(*answers, strict=True)
        )
        return PointAnswer(points, sure)

    def compare(self, tokens, reference, size_hw, depth=None):
        return 2 + 1 / (1 + (tokens[:, 1:] - tokens[:, :1]).abs()[..., 0])


class SceneOracle(Oracle, LocalToWorld):
    """SLAM3R's second network: reads the scene's frame and unit off the references' points."""

    def register(self, tokens, points, references, valid=None):
        numbers = [int(k) for k in tokens[0, :, 0, 0]]
        truth = np.stack([self.street.points_world(k) for k in numbers])
        given = points[0].double().numpy()
        sure = np.isfinite(truth[..., 2]).astype(float)
        scene = register_points(given[references], truth[references], sure[references])
        moved = np.nan_to_num(scene.move(truth))
        return PointAnswer(torch.from_numpy(moved[None]).float(), torch.from_numpy(sure[None]))


def make_adapter(street: Street, name: str):
    """A looker of a kind."""
    if name == "pnp":
        return PairwiseAdapter(PairOracle(street).eval(), street.rig, CPU, None)
    if name in ALIGN:
        return GlobalAlignmentAdapter(
            PairOracle(street).eval(), street.rig, CPU, None, ALIGN[name], DIS
        )
    world = SceneOracle(street) if name == "register, two networks" else None
    return Slam3rAdapter(WindowOracle(street), world, street.rig, CPU)


def assert_right(street: Street, raw: UnscaledPrediction, t: int, share: float) -> None:
    """Depth within a share in the median, motion in 0.6 degrees and 10 %, up to a camera's unit."""
    truth = street.last_T_cam(t)
    for v in range(2):
        seen = np.isfinite(street.depth_m[t, v]) & street.still[t, v]
        ratio = raw.depth[v][seen] / street.depth_m[t, v][seen]
        unit = np.median(ratio)
        assert np.median(np.abs(ratio / unit - 1)) < share
        assert np.degrees(angle_rad(invert(truth[v]) @ raw.last_T_cam[v])) < 0.6
        moved_m = np.linalg.norm(truth[v][:3, 3])
        off_m = np.linalg.norm(raw.last_T_cam[v][:3, 3] / unit - truth[v][:3, 3])
        assert off_m < 0.1 * moved_m + 0.02


@pytest.mark.parametrize("name", [*ALIGN, "pnp", "register", "register, two networks"])
def test_depth_and_motion_are_found_up_to_a_unit(street, name):
    adapter = make_adapter(street, name)
    first = adapter.predict(street.images[0], EVERYONE, 0.0)
    assert np.isnan(first.last_T_cam).all()
    share = 0.06 if name == "sparse" else 0.03  # it bends depth by matches, cell by cell
    for t in (1, 2):
        assert_right(street, adapter.predict(street.images[t], EVERYONE, 0.4), t, share)


@pytest.mark.parametrize("name", ["register", "register, two networks"])
def test_a_scene_keeps_its_unit_and_a_camera_that_was_gone_begins_a_new_one(street, name):
    adapter = make_adapter(street, name)
    units = []
    for t in range(3):
        raw = adapter.predict(street.images[t], EVERYONE, 0.4 * (t > 0))
        units.append(np.nanmedian(raw.depth[0] / street.depth_m[t, 0]))
    np.testing.assert_allclose(units, units[0], rtol=0.03)
    adapter.predict(street.images[2], np.array([False, True]), 0.4)
    back = adapter.predict(street.images[3], EVERYONE, 0.4)
    assert np.isnan(back.last_T_cam[0]).all()
    assert np.isfinite(back.last_T_cam[1]).all()
    assert np.isfinite(back.depth).all()


def test_a_window_that_fits_no_alignment_leaves_motion_unknown(street):
    adapter = make_adapter(street, "pairwise")
    adapter.network.tell = lambda k, reference, unit: (
        np.full((*SIZE_HW, 3), 5.0),
        np.ones(SIZE_HW),  # as unsure as can be
    )
    adapter.predict(street.images[0], EVERYONE, 0.0)
    raw = adapter.predict(street.images[1], EVERYONE, 0.4)
    assert np.isnan(raw.last_T_cam).all()
    assert (raw.depth == 5.0).all()


UNITS = np.array([3.0, 0.4])  # metres in a unit of each camera


def see(street: Street, t: int) -> UnscaledPrediction:
    """A system's perfect answer in units of its own."""
    last_T_cam = street.last_T_cam(t).copy()
    last_T_cam[:, :3, 3] /= UNITS[:, None]
    depth = street.depth_m[t] / UNITS[:, None, None]
    return UnscaledPrediction(depth, np.where(street.still[t], 4.0, 0.0), last_T_cam)


def test_known_baselines_give_every_cameras_metres(street):
    scale_estimator = RigScaleEstimator(street.rig)
    scale_estimator.update(see(street, 1), street.world_T_cam[1])
    metres = scale_estimator.update(see(street, 2), street.world_T_cam[2])
    np.testing.assert_allclose(metres, UNITS, rtol=0.05)
    again = RigScaleEstimator(street.rig)
    again.load_state(scale_estimator.save_state())
    raw = see(street, 3)
    expected = scale_estimator.update(raw, street.world_T_cam[3])
    np.testing.assert_array_equal(again.update(raw, street.world_T_cam[3]), expected)


def test_a_camera_that_sees_no_road_gets_its_metres_from_its_neighbour(street):
    raw = see(street, 1)
    plain, tied = ScaleEstimator(street.rig), RigScaleEstimator(street.rig)
    depth = raw.depth.copy()
    depth[1][plain.on_road[1]] = np.nan
    blind = replace(raw, depth=depth)
    alone, together = plain.update(blind, None), tied.update(blind, None)
    assert np.isfinite(alone[0])
    assert np.isnan(alone[1])  # another camera's unit is not its own
    np.testing.assert_allclose(together, UNITS, rtol=0.15)


@pytest.mark.parametrize("off_m", [0.0, 2.0])
def test_a_rig_that_is_placed_as_it_is_shows_the_unit_and_another_does_not(off_m):
    rig = make_rig(SIZE_HW)
    ego_T_cam = np.stack([camera.ego_T_cam for camera in rig.cameras])
    ref_T_cam = from_rotvec(np.array([0.3, -0.2, 1.0]), np.array([4.0, 5, 6])) @ ego_T_cam
    rng = np.random.default_rng(0)
    ref_T_cam[:, :3, 3] = (ref_T_cam[:, :3, 3] + rng.normal(0, off_m, (6, 3))) / 7
    scale_estimator = ScaleEstimator(rig)
    depth = np.where(
        scale_estimator.on_road, scale_estimator.road_m / 5, np.nan
    )  # the road tells another unit
    raw = UnscaledPrediction(depth, depth, np.full((6, 4, 4), np.nan), True, ref_T_cam)
    np.testing.assert_allclose(scale_estimator.update(raw, None), 5 if off_m else 7, rtol=1e-6)


def test_focal_lengths_are_found_from_rendered_points_with_noise(street):
    oracle = PairOracle(street)
    for v, camera in enumerate(street.rig.cameras):
        points, sure = oracle.tell(v, v, 0.1)
        focal_px = fit_focal(points, np.array([56.0, 32.0]), np.log(sure))
        assert abs(focal_px / camera.K[0, 0] - 1) < 0.01
