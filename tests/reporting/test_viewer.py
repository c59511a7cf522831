"""The live viewer: what its layers hold, what a click means, and what a browser shows."""

import itertools
import json
import sys
import time

import numpy as np
import pytest
import street_log
from browser import Browser

from driv3r.cli.view import find_root
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import from_rotvec
from driv3r.reporting.viewer import LogViewer, ViewerConfig
from driv3r.reporting.viewer.log_scene import LogScene
from driv3r.reporting.viewer.point_layers import PointLayer, pick_point
from driv3r.types import Frame, Sweep, View

UP_M = street_log.CAM_UP_M


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return LogScene(street_log.make_log(tmp_path_factory.mktemp("street")))


def test_layers_lie_where_the_log_has_them(scene):
    static = scene.store.static()
    np.testing.assert_allclose(
        scene.static.points_local, static.points_world - street_log.ORIGIN_M, atol=1e-4
    )
    depth = scene.depth_points(2, stride=1)
    # The wall is 12 m before the camera, which has come 4 m and is 1.5 m up.
    np.testing.assert_allclose(depth.points_local[:, 0], 4.0 + street_log.WALL_M, rtol=0.01)
    assert len(depth.points_local) == street_log.H * street_log.W
    assert len(scene.depth_points(2, stride=2).points_local) == len(depth.points_local) / 4
    np.testing.assert_allclose(depth.values["sigma"], 0.1, rtol=0.03)
    np.testing.assert_allclose(depth.values["motion"], 0.25, atol=0.01)


def test_objects_are_between_their_states_and_leave_a_trail(scene):
    layer, boxes = scene.objects(scene.time_us(0.75))
    middle = boxes.points_local.mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [20.0 - 4.0 * 1.5, 3.0, 0.8], atol=1e-3)
    assert boxes.points_local.shape == (12, 2, 3)
    edges_m = np.linalg.norm(np.diff(boxes.points_local, axis=1)[:, 0], axis=-1)
    np.testing.assert_allclose(np.sort(edges_m), np.repeat([1.6, 2.0, 4.0], 4), atol=1e-3)
    assert set(layer.track) == {0}
    assert len(scene.trails(scene.time_us(0.75)).points_local) == 1  # states at 0 and 0.5 s
    assert len(scene.path.points_local) == street_log.T - 1


def test_lidar_goes_with_the_logs_own_path_and_tells_the_error_of_depth(scene, monkeypatch):
    """The dataset's path is elsewhere and turned; what the car sees from its place is the same."""
    world_T_ego = from_rotvec(np.array([0.0, 0.0, 0.7]), np.array([-50.0, 9.0, 1.0]))
    camera = scene.store.rig.cameras[0]
    yz = np.random.default_rng(0).uniform(-2.0, 2.0, (50, 2))
    points_ego = np.column_stack([np.full(50, 15.0), yz + (0.0, UP_M)])
    sweep = Sweep(points_ego, int(scene.store.time_us[2]), world_T_ego)
    view = View(np.zeros((24, 40, 3), np.uint8), sweep.time_us, world_T_ego @ camera.ego_T_cam)
    frame = Frame(sweep.time_us, world_T_ego, (view,), sweep)
    monkeypatch.setattr(scene, "root", "somewhere")
    monkeypatch.setattr(scene, "_read_frame", lambda _: (frame, [view.image]))
    expected = points_ego + (4.0, 0.0, 0.0)
    np.testing.assert_allclose(scene.lidar_points(2).points_local, expected, atol=1e-4)
    errors = scene.error_points(2)
    assert len(errors.points_local) > 30
    np.testing.assert_allclose(errors.points_local[:, 0], 19.0, atol=1e-4)
    np.testing.assert_allclose(errors.values["error"], abs(street_log.WALL_M - 15) / 15, atol=0.01)


def make_layer(points):
    points = np.array(points, np.float32)
    return PointLayer("layer", points, np.zeros((len(points), 3), np.uint8))


def test_a_click_means_the_nearest_point_of_its_ray():
    near, far = make_layer([[5.0, 2.0, 0.0], [9.0, 0.0, 0.02]]), make_layer([[8.0, 0.01, 0.0]])
    origin, ahead = np.zeros(3), np.array([2.0, 0.0, 0.0])
    assert pick_point([near, far], origin, ahead) == (1, 0)
    assert pick_point([near], origin, ahead) == (0, 1)
    assert pick_point([near, far], origin, -ahead) is None
    assert pick_point([], origin, ahead) is None


def test_colours_say_what_is_known_and_stay_dim_where_nothing_is():
    layer = PointLayer(
        "layer",
        np.array([[0, 0, 0], [0, 0, 5], [0, 0, 0]], np.float32),
        np.array([[1, 2, 3]] * 3, np.uint8),
        {"sigma": np.array([0.0, 0.6, np.nan])},
        np.array([0, -1, 8]),
    )
    assert (layer.colours("rgb") == (1, 2, 3)).all()
    low, high, unknown = layer.colours("sigma").astype(int)
    assert low[2] > low[0]  # blue
    assert high[0] > high[2]  # red
    assert unknown.max() < 80
    assert (layer.colours("error").max(axis=1) < 80).all()
    track = layer.colours("track")
    assert (track[0] == track[2]).all()  # 8 colours, one after another
    assert not (track[0] == track[1]).all()
    height = layer.colours("height")
    assert (height[0] == height[2]).all()
    assert not (height[0] == height[1]).all()
    assert len(layer.thin(2).points_local) == 2


def test_without_viser_the_remedy_is_named(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[view\]'"):
        LogViewer([scene])


def test_root_is_that_of_the_run_where_it_is_there(tmp_path):
    store = tmp_path / "a.zarr"
    assert find_root(store) is None
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"root": str(tmp_path)}}))
    assert find_root(store) == tmp_path
    (tmp_path / "run.json").write_text('{"settings": {"root": "/not/there"}}')
    assert find_root(store) is None
    (tmp_path / "run.json").write_text("[]")
    assert find_root(store) is None


@pytest.fixture
def viewer(scene):
    pytest.importorskip("viser", reason="needs viser: pip install 'driv3r[view]'")
    viewer = LogViewer([scene], ViewerConfig(port=18_080))
    yield viewer
    viewer.stop()


@pytest.fixture
def tab(tmp_path):
    tab = Browser(tmp_path / "chromium")
    yield tab
    tab.close()


def count_red(picture):
    red, green, blue = (picture[:, :500, c].astype(int) for c in range(3))  # beside the panel
    return int(((red > 120) & (red > 2 * green) & (red > 2 * blue)).sum())


def click(tab, x):
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        tab.send("Input.dispatchMouseEvent", type=kind, x=x, y=450, button="left", clickCount=1)
    tab.run("new Promise(done => setTimeout(done, 400))")


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_browser_shows_the_map_steps_through_time_and_reads_points_out(viewer, tab):
    tab.open(f"http://127.0.0.1:{viewer.port}", 800, 600)
    wait_for(lambda: count_red(tab.screenshot()) > 5000)  # the road
    before = tab.screenshot()[:, :500]
    viewer.follow.value = False
    viewer.slider.value = 1.0
    wait_for(lambda: (tab.screenshot()[:, :500] != before).any(axis=-1).sum() > 300)
    np.testing.assert_allclose(viewer.local_T_ego[:3, 3], [4.0, 0.0, 0.0], atol=1e-6)
    places = itertools.cycle((330, 400))  # a browser that is still busy lets a click pass
    wait_for(lambda: click(tab, next(places)) or "between both" in viewer.told.content)
    assert "static map" in viewer.told.content
    viewer.boxes["map"].value = False
    wait_for(lambda: count_red(tab.screenshot()) < 1500)  # the rim of a notice of viser
    assert tab.complaints() == []
    assert [url for url in tab.requests() if "127.0.0.1" not in url] == []
