"""Published systems behind our Streamer's interface: their units become metres."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from run_settings import settings_for
from safetensors.torch import save_file
from test_vggt_adapter import TINY as TINY_VGGT

from driv3r.geometry.cameras import crop_resize, rays_of
from driv3r.geometry.transforms import from_rotvec, invert, make_transform
from driv3r.inference.metric_scale import ScaleEstimator, UnscaledPrediction
from driv3r.inference.optical_flow import choose_flow
from driv3r.inference.published import (
    FlowMotionSegmenter,
    PublishedModelStreamer,
    median_ego_motion,
)
from driv3r.inference.registry import load_system
from driv3r.inference.window_adapters import PairwiseAdapter
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.models.key_maps.base import KeyMap
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.mvdust3r import MvDust3rConfig
from driv3r.models.published.pair_networks import PairConfig, PairNet
from driv3r.models.published.slam3r import Slam3rConfig
from driv3r.models.published.spann3r import MemoryNetConfig
from driv3r.models.registry import MODELS
from driv3r.pipelines.process import process
from driv3r.store.reader import LogStore
from driv3r.store.verify import verify
from driv3r.types import Camera, Rig

SIZE_HW = (48, 64)
MOTION = from_rotvec(np.array([0, 0, 0.02]), np.array([2.5, 0.03, 0]))  # prev_T_curr
DIS = choose_flow("dis", torch.device("cpu"))
UNITS = (3.0, 0.4)  # the oracle's lengths are metres times these


def make_rig() -> Rig:
    forward = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    left = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
    turns = {"front": np.eye(3), "left": left}
    return Rig(
        tuple(
            Camera(n, K, SIZE_HW, make_transform(t @ forward, np.array([1.0, 0.2, 1.5])))
            for n, t in turns.items()
        )
    )


def see_ground(camera: Camera) -> np.ndarray:
    """Points (m) in the camera: the road, and a wavy wall 12 to 20 m away above the horizon."""
    rays = rays_of(camera)
    down = -(rays @ camera.ego_T_cam[:3, :3].T)[..., 2]
    columns = np.arange(SIZE_HW[1])
    wall = 16 + 4 * np.sin(columns / 5.0)[None] * np.cos(np.arange(SIZE_HW[0]) / 3.0)[:, None]
    depth_m = np.where(down > 0.05, camera.ego_T_cam[2, 3] / np.maximum(down, 0.05), wall)
    return rays * np.minimum(depth_m, wall)[..., None]


class Oracle(PairNet):
    """Answers as a perfect pair network would, in units of its own; cameras in turn."""

    prior_embedding = prior = None

    def __init__(self, rig: Rig):
        torch.nn.Module.__init__(self)
        self.rig, self.calls = rig, 0

    def forward(self, first, second, priors):
        v = self.calls % len(self.rig.cameras)
        self.calls += 1
        camera = self.rig.cameras[v]
        now = see_ground(camera)
        now_T_last = invert(camera.ego_T_cam) @ invert(MOTION) @ camera.ego_T_cam
        then = now @ now_T_last[:3, :3].T + now_T_last[:3, 3]
        sure = torch.full((1, *SIZE_HW), 4.0)
        return tuple(
            PointAnswer(torch.from_numpy(UNITS[v] * p[None]).float(), sure) for p in (now, then)
        )


def make_frame(seed: int, given: bool = False) -> StreamFrame:
    """Random images; with `given` also where the cameras are when the car has made `seed` steps."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8) for _ in "ab"]
    ego_T_cam = np.stack([camera.ego_T_cam for camera in make_rig().cameras])
    world_T_ego = np.linalg.matrix_power(MOTION, seed)
    return StreamFrame(images, 0.5 * (seed > 0), world_T_ego @ ego_T_cam if given else None)


@pytest.mark.parametrize("given", [True, False])
def test_units_become_metres_and_the_cars_motion_is_found(given):
    rig = make_rig()
    adapter = PairwiseAdapter(Oracle(rig), rig, torch.device("cpu"), None)
    streamer = PublishedModelStreamer(
        adapter, rig, torch.device("cpu"), ScaleEstimator(rig), FlowMotionSegmenter(rig, DIS)
    )
    first = streamer.step(make_frame(0, given))
    assert first.prev_T_curr is None
    second = streamer.step(make_frame(1, given))
    for v, camera in enumerate(rig.cameras):
        truth = see_ground(camera)[..., 2]
        np.testing.assert_allclose(second.depth_m[v], truth, rtol=0.02)
    np.testing.assert_allclose(second.prev_T_curr, MOTION, atol=0.06)
    np.testing.assert_allclose(second.sigma, 0.05, rtol=1e-6)


def test_a_missing_camera_is_left_out_and_the_state_restores_exactly():
    rig = make_rig()

    def start():
        adapter = PairwiseAdapter(Oracle(rig), rig, torch.device("cpu"), None)
        return PublishedModelStreamer(
            adapter, rig, torch.device("cpu"), ScaleEstimator(rig), FlowMotionSegmenter(rig, DIS)
        )

    one, two = start(), start()
    one.step(make_frame(0))
    two.load_state(one.save_state())
    a, b = one.step(make_frame(1)), two.step(make_frame(1))
    np.testing.assert_array_equal(a.depth_m, b.depth_m)
    np.testing.assert_array_equal(a.prev_T_curr, b.prev_T_curr)
    frame = make_frame(2)
    gone = one.step(replace(frame, images=[None, frame.images[1]]))
    assert np.isnan(gone.depth_m[0]).all()


def test_motion_is_the_median_of_what_cameras_say():
    ego_T_cam = np.stack([c.ego_T_cam for c in make_rig().cameras] * 2)[:3]
    said = invert(ego_T_cam) @ MOTION @ ego_T_cam
    said[2, :3, 3] += 40.0
    nobody = np.full((3, 4, 4), np.nan)
    np.testing.assert_allclose(median_ego_motion(said[:2], ego_T_cam[:2]), MOTION)
    agreed = median_ego_motion(said, ego_T_cam)
    assert np.linalg.norm(agreed[:3, 3] - MOTION[:3, 3]) < 1.0
    assert median_ego_motion(nobody, ego_T_cam) is None
    assert (
        UnscaledPrediction(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), nobody[:1]).shared_scale
        is False
    )


def test_a_square_that_moves_by_itself_is_told_from_a_wall_that_only_seems_to():
    """The camera goes 0.2 m to the right before a textured wall; a square on it goes up 8 px."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (200, 300, 3)), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    K = np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]])
    camera = Camera("wall", K, (96, 128), np.eye(4))
    last = texture[40:136, 60:188].copy()
    now = texture[40:136, 65:193].copy()  # 100 px * 0.2 m / 4 m
    patch = texture[150:180, 10:40]
    last[40:70, 50:80], now[32:62, 45:75] = patch, patch
    last_T_cam = make_transform(np.eye(3), np.array([0.2, 0, 0]))[None]
    segmenter = FlowMotionSegmenter(Rig((camera,)), DIS)
    depth_m = np.full((1, 96, 128), 4.0)
    assert not segmenter.segment([last], depth_m, last_T_cam).any()
    motion = segmenter.segment([now], depth_m, last_T_cam)[0]
    assert motion[38:56, 51:69].mean() > 0.8
    assert motion[8:24, 20:100].mean() < 0.35


PAIR = PairConfig(
    width=32, depth=1, heads=2, cross_width=24, cross_depth=1, cross_heads=2, dpt=None
)
TRUNK = {"width": 32, "depth": 1, "heads": 2, "cross_width": 24, "cross_heads": 2}
TINY = {
    "dust3r": PAIR,
    "align3r": replace(PAIR, point_blocks=1),
    "pow3r": replace(PAIR, use_priors=True),
    "slam3r-i2p": Slam3rConfig(**TRUNK, cross_depth=3),
    "mvdust3r": MvDust3rConfig(**TRUNK, cross_depth=1, skip_width=6, gaussian_width=12),
    "driv3r": MemoryNetConfig(pair=PAIR, value_depth=1, value_heads=2),
    "vggt": TINY_VGGT,
}


@pytest.fixture
def tiny_system(monkeypatch, tmp_path):
    """Registers a tiny sibling of a system under the name "tiny"; returns its weights' path."""

    def register(name: str) -> str:
        size_hw = (56, 112) if name == "vggt" else (64, 112)  # multiples of the patch
        entry = replace(MODELS[name], config=TINY[name], key_map=KeyMap(()), size_hw=size_hw)
        monkeypatch.setitem(MODELS, "tiny", entry)
        torch.manual_seed(0)
        weights = tmp_path / "tiny.safetensors"
        save_file(entry.build().state_dict(), weights)
        return str(weights)

    return register


@pytest.mark.parametrize("name", TINY)
def test_published_systems_run_in_the_pipeline(name, tiny_system, tiny_world, tmp_path):
    weights, out = tiny_system(name), tmp_path / "out"
    aligner = (
        "pnp" if isinstance(TINY[name], PairConfig) else "own"
    )  # pairs' aligners take long: test_aligned
    settings = settings_for(
        tiny_world, model="tiny", weights=weights, ego_poses="given", aligner=aligner
    )
    run = process(settings, out, inline=True)
    assert [log.state for log in run.logs] == ["done", "done"], run.logs[0].error
    for log in run.logs:
        store = LogStore.open(out / f"{log.log_id}.zarr")
        assert verify(store.path).ok
        assert store.header.scale_source.startswith("similarity made metric")
    assert any(s.subject == "tiny" and s.metric == "abs_rel" for s in run.scores)


@pytest.mark.parametrize(
    ("name", "aligner"),
    [("align3r", "pnp"), ("slam3r-i2p", "pnp"), ("slam3r-i2p", "register"), ("mvdust3r", "own"),
     ("driv3r", "rig")],
)  # fmt: skip
def test_a_systems_state_restores_exactly(name, aligner, tiny_system):
    weights = tiny_system(name)
    settings = settings_for(Path("."), model="tiny", weights=weights, aligner=aligner)
    rig = prepare_rig_at(make_rig(), (64, 112))
    system = load_system(settings)
    rng = np.random.default_rng(0)
    frames = [
        StreamFrame([rng.integers(0, 255, (64, 112, 3)).astype(np.uint8) for _ in "ab"], dt_s)
        for dt_s in (0.0, 0.5, 0.5)
    ]
    one, two = system.stream(rig, settings), system.stream(rig, settings)
    for frame in frames[:2]:
        one.step(frame)
    two.load_state(one.save_state())
    a, b = one.step(frames[2]), two.step(frames[2])
    np.testing.assert_array_equal(a.depth_m, b.depth_m)
    assert (a.prev_T_curr is None) == (b.prev_T_curr is None)


def prepare_rig_at(rig: Rig, size_hw: tuple[int, int]) -> Rig:
    """The rig at another image size."""
    return Rig(tuple(crop_resize(camera, size_hw)[0] for camera in rig.cameras))
