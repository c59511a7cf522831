"""What runs without calibration, and what does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_settings import settings_for

from driv3r.errors import ConfigError
from driv3r.inference.registry import describe_scale, load_system
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.types import Rig

SIZE_HW = (128, 224)


def answer(rig: Rig, calibration: str) -> np.ndarray:
    settings = settings_for(Path("."), calibration=calibration, precision="fp32")
    streamer = load_system(settings).stream(rig, settings)
    rng = np.random.default_rng(0)
    for dt_s in (0.0, 0.5):
        images = [rng.integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8) for _ in rig.cameras]
        prediction = streamer.step(StreamFrame(images, dt_s))
    return prediction.depth_m


def test_a_hidden_calibration_is_not_felt():
    rig = Rig(make_rig(SIZE_HW).cameras[:2])
    turned = Rig(
        tuple(
            replace(
                c, K=c.K @ np.diag([1.5, 1.5, 1]), ego_T_cam=c.ego_T_cam @ np.diag([1, -1, -1, 1])
            )
            for c in rig.cameras
        )
    )
    hidden = answer(rig, "hidden")
    np.testing.assert_allclose(hidden, answer(turned, "hidden"), rtol=1e-5)
    assert np.abs(np.log(hidden / answer(rig, "given"))).mean() > 0.01


def test_published_systems_need_the_rig_for_their_metres():
    with pytest.raises(ConfigError, match="--calibration hidden: vggt"):
        describe_scale(settings_for(Path("."), model="vggt", calibration="hidden"))
    assert "neither rays" in describe_scale(settings_for(Path("."), calibration="hidden"))
