"""Random rigs' shares, heights and focal lengths, and lenses that leave the truth alone."""

import dataclasses

import numpy as np

from driv3r.simulator.rendering.camera_response import camera_response, make_lens, sun_before
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import RIG_SHARES, look_from, make_rig
from driv3r.simulator.scene.layouts import (
    FRONT,
    HIGH_M,
    LAYOUTS,
    LOW_M,
    SHARES,
    SIDE,
    UNLIKE,
    survey_cameras,
)
from driv3r.simulator.scene.world import make_world

SIZE = (48, 84)


def test_shares_add_up_and_a_third_of_rigs_are_surveyed():
    assert np.isclose(sum(RIG_SHARES.values()), 1)
    assert np.isclose(sum(SHARES.values()), 1)
    assert RIG_SHARES["surveyed"] == 0.35
    assert set(SHARES) == set(LAYOUTS)


def test_random_cameras_hang_at_all_heights_of_cars():
    rigs = [make_rig(SIZE, np.random.default_rng(seed)) for seed in range(300)]
    height_m = np.array([c.ego_T_cam[2, 3] for rig in rigs for c in rig.cameras])
    assert height_m.min() >= LOW_M
    assert height_m.max() <= HIGH_M
    assert (height_m > 1.9).mean() > 0.2
    assert (height_m < 1.45).mean() > 0.1
    assert {len(rig.cameras) for rig in rigs} == set(range(3, 9))


def test_surveyed_rigs_have_each_cameras_own_focal_length():
    rigs = [survey_cameras(np.random.default_rng(seed)) for seed in range(200)]
    front = np.array([row[3] for rig in rigs for row in rig[:1]])
    sides = np.array([row[3] for rig in rigs for row in rig[1:]])
    for focal, (low, high) in ((front, FRONT), (sides, (SIDE[0], FRONT[1]))):
        assert low * (1 - UNLIKE) <= focal.min() < low + 0.05
        assert high - 0.1 < focal.max() <= high * (1 + UNLIKE)
    assert (sides < 0.6).mean() > 0.3
    for rig in rigs:
        assert len({row[3] for row in rig}) == len(rig)
        assert len({row[2][2] for row in rig}) == len(rig)
    first, again = (survey_cameras(np.random.default_rng(7)) for _ in range(2))
    assert first == again


def test_lenses_differ_and_leave_the_truth_alone(monkeypatch):
    renderer, camera = Renderer(make_world(1_000_003, 2.0)), make_rig(SIZE).cameras[1]
    strong = dataclasses.replace(
        make_lens(np.random.default_rng(0), False, True),
        vignette=0.5, veil=0.35, flare=0.3, halo=0.8, halo_px=2.0, jpeg_quality=35, gamma=1.2,
    )  # fmt: skip
    plain = renderer.render_view(camera, 1.0)
    monkeypatch.setattr("driv3r.simulator.rendering.renderer.make_lens", lambda *_: strong)
    other = renderer.render_view(camera, 1.0)
    assert (other.image != plain.image).mean() > 0.5
    for field in ("depth_m", "instance", "moving", "velocity_mps"):
        np.testing.assert_array_equal(getattr(other, field), getattr(plain, field))


def test_what_vignette_veil_and_halo_do():
    plain = dataclasses.replace(
        make_lens(np.random.default_rng(0), False, False),
        vignette=0.0, veil=0.0, flare=0.0, halo=0.0, noise=0.0, dirt_seed=None, exposure=0.7,
        balance=(1.0, 1.0, 1.0), contrast=1.0, gamma=1.0, saturation=1.0,
    )  # fmt: skip
    light, still = np.full((64, 112, 3), 0.05), np.zeros((64, 112, 2))
    light[:, 56:] = 0.5

    def see(sun=0.0, **change):
        lens = dataclasses.replace(plain, **change)
        return camera_response(light, still, lens, np.random.default_rng(0), sun).astype(int)

    base = see()
    dim = see(vignette=0.5)
    assert dim[0, -1, 0] < base[0, -1, 0] - 15
    assert dim[32, 57, 0] > dim[0, 57, 0]
    for hazy in (see(veil=0.3), see(sun=1.0, flare=0.3)):
        assert np.ptp(hazy[:, :, 0]) < np.ptp(base[:, :, 0]) - 15
    np.testing.assert_array_equal(see(flare=0.3), base)
    sharp = see(halo=0.8)
    assert sharp.max() > base.max()
    assert sharp.min() < base.min()


def test_the_sun_flares_only_before_a_camera():
    light = make_world(1_000_000, 1.0).light
    azimuth_deg, elevation_deg = 30.0, 20.0
    packed = light.packed.copy()
    packed[:3] = look_from((0, 0, 0), azimuth_deg, elevation_deg)[:3, 2]
    sunny = dataclasses.replace(light, packed=packed, mood="sunny")
    assert sun_before(look_from((0, 0, 0), azimuth_deg, elevation_deg), sunny) > 0.99
    assert sun_before(look_from((0, 0, 0), azimuth_deg + 180, 0.0), sunny) == 0.0
    night = dataclasses.replace(sunny, mood="night")
    assert sun_before(look_from((0, 0, 0), azimuth_deg, elevation_deg), night) == 0.0
