"""VGGT in a system's place: what it says of the cameras becomes depth and motion."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from run_settings import settings_for
from safetensors.torch import save_file

from driv3r.geometry.transforms import from_rotvec, invert
from driv3r.inference.metric_scale import ScaleEstimator
from driv3r.inference.optical_flow import choose_flow
from driv3r.inference.published import FlowMotionSegmenter, ModelAdapter, PublishedModelStreamer
from driv3r.inference.registry import load_system
from driv3r.inference.vggt import VggtAdapter
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.models.key_maps.base import KeyMap
from driv3r.models.layers.blocks import LayerScale
from driv3r.models.published.vggt import DENSE, FEATURES, Vggt, VggtConfig
from driv3r.models.published.vggt_camera_head import encode_cameras
from driv3r.models.published.vggt_point_tracker import TrackerConfig
from driv3r.models.registry import MODELS
from driv3r.types import Camera, Rig

SIZE_HW = (28, 42)
WIDTHS = (8, 8, 8, 8)
TINY = VggtConfig(
    width=32,
    depth=4,
    heads=2,
    encoder_depth=1,
    encoder_heads=2,
    grid=3,
    hooks=(0, 1, 2, 3),
    camera_depth=1,
    camera_heads=2,
    dense=replace(DENSE, widths=WIDTHS, features=16),
    features=replace(FEATURES, widths=WIDTHS, features=16),
    tracker=TrackerConfig(
        levels=2, radius=1, steps=1, width=16, depth=1, heads=2, virtual_tracks=4
    ),
)
DIS = choose_flow("dis", torch.device("cpu"))
EVERYONE = np.ones(3, bool)


def make_rig() -> Rig:
    K = np.array([[40.0, 0, 21], [0, 40, 14], [0, 0, 1]])
    ego_T_cam = np.eye(4)
    ego_T_cam[:3, :3] = [[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    ego_T_cam[2, 3] = 1.5
    return Rig(tuple(Camera(name, K, SIZE_HW, ego_T_cam) for name in ("a", "b", "c")))


@pytest.fixture(scope="module")
def network() -> Vggt:
    torch.manual_seed(0)
    network = Vggt(TINY).eval()
    with torch.no_grad():
        network.camera.start.normal_()
        for part in network.modules():
            if isinstance(part, LayerScale):
                part.gain.normal_()
    return network


def start(network: Vggt) -> VggtAdapter:
    return VggtAdapter(network, make_rig(), torch.device("cpu"))


def make_images(seed: int) -> torch.Tensor:
    return torch.rand(3, 3, *SIZE_HW, generator=torch.Generator().manual_seed(seed))


def test_all_cameras_are_answered_and_motion_needs_a_last_image(network):
    adapter = start(network)
    assert isinstance(adapter, ModelAdapter)
    first = adapter.predict(make_images(0), EVERYONE, 0.0)
    second = adapter.predict(make_images(1), EVERYONE, 0.5)
    assert first.shared_scale
    assert np.isnan(first.last_T_cam).all()
    for raw in (first, second):
        assert raw.depth.shape == raw.confidence.shape == (3, *SIZE_HW)
        assert (raw.depth > 0).all()
        assert (raw.confidence > 1).all()
    turns = second.last_T_cam[:, :3, :3]
    np.testing.assert_allclose(turns @ turns.swapaxes(-1, -2), np.stack([np.eye(3)] * 3), atol=1e-9)
    assert np.isfinite(second.last_T_cam).all()


def test_a_missing_camera_has_no_depth_and_begins_anew(network):
    adapter = start(network)
    adapter.predict(make_images(0), EVERYONE, 0.0)
    gone = adapter.predict(make_images(1), np.array([False, True, True]), 0.5)
    back = adapter.predict(make_images(2), EVERYONE, 0.5)
    assert np.isnan(gone.depth[0]).all()
    assert np.isnan(gone.confidence[0]).all()
    assert np.isfinite(gone.depth[1:]).all()
    assert np.isnan(gone.last_T_cam[0]).all()
    assert np.isnan(back.last_T_cam[0]).all()
    assert np.isfinite(back.last_T_cam[1:]).all()
    nobody = adapter.predict(make_images(3), ~EVERYONE, 0.5)
    assert np.isnan(nobody.depth).all()


def test_the_state_restores_exactly(network):
    one, two = start(network), start(network)
    one.predict(make_images(0), EVERYONE, 0.0)
    two.load_state(one.save_state())
    a, b = (adapter.predict(make_images(1), EVERYONE, 0.5) for adapter in (one, two))
    np.testing.assert_array_equal(a.depth, b.depth)
    np.testing.assert_array_equal(a.confidence, b.confidence)
    np.testing.assert_array_equal(a.last_T_cam, b.last_T_cam)


class Knowing(Vggt):
    """Sees as a random network does, but knows where the cameras were."""

    def __init__(self, ref_T_cams: np.ndarray):
        super().__init__(TINY)
        self.cam_T_ref = torch.from_numpy(invert(ref_T_cams))

    def predict_cameras(self, layers):
        K = torch.tensor([[30.0, 0, 21], [0, 30, 14], [0, 0, 1]], dtype=torch.float64)
        count = layers[-1].shape[1]
        cameras = self.cam_T_ref[:count]
        return encode_cameras(cameras, K.expand(count, 3, 3), SIZE_HW)[None, None].float()


def test_motion_is_that_between_the_cameras_that_the_network_places():
    rng = np.random.default_rng(0)
    now_then = from_rotvec(rng.normal(0, 0.3, (6, 3)), rng.normal(0, 1, (6, 3)))
    adapter = start(Knowing(now_then).eval())
    adapter.predict(make_images(0), EVERYONE, 0.0)
    raw = adapter.predict(make_images(1), EVERYONE, 0.5)
    np.testing.assert_allclose(raw.last_T_cam, invert(now_then[3:]) @ now_then[:3], atol=1e-5)


def test_it_runs_behind_the_interface_of_our_own_network(network):
    rig = make_rig()
    streamer = PublishedModelStreamer(
        start(network), rig, torch.device("cpu"), ScaleEstimator(rig), FlowMotionSegmenter(rig, DIS)
    )
    rng = np.random.default_rng(0)
    for dt_s in (0.0, 0.5):
        images = [rng.integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8) for _ in rig.cameras]
        prediction = streamer.step(StreamFrame([None, *images[1:]], dt_s))
    assert np.isnan(prediction.depth_m[0]).all()
    assert np.isfinite(prediction.depth_m[1:]).all()
    assert prediction.prev_T_curr is not None


def test_weights_under_the_systems_name_are_run_by_it(monkeypatch, tmp_path, network):
    entry = replace(MODELS["vggt"], config=TINY, key_map=KeyMap(()), size_hw=SIZE_HW)
    monkeypatch.setitem(MODELS, "tiny", entry)
    weights = tmp_path / "tiny.safetensors"
    save_file(network.state_dict(), weights)
    settings = settings_for(tmp_path, model="tiny", weights=str(weights))
    system = load_system(settings)
    assert system.size_hw == SIZE_HW
    streamer = system.stream(make_rig(), settings)
    assert isinstance(streamer, PublishedModelStreamer)
    raw = streamer.adapter.predict(make_images(0), EVERYONE, 0.0)
    expected = start(network).predict(make_images(0), EVERYONE, 0.0)
    np.testing.assert_array_equal(raw.depth, expected.depth)
