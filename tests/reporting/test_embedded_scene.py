"""What a page's text holds, read by rules of its own, is the log."""

import base64
import json
import zlib

import numpy as np
import pytest
import street_log

from driv3r.evaluation.records import RunResult
from driv3r.reporting import embedded_scene
from driv3r.reporting.birds_eye import draw_birds_eye
from driv3r.reporting.embedded_scene import MOST_BYTES, encode_scene
from driv3r.reporting.html import write_report


def decode(text):
    raw = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(raw[:4], "little")
    head, body = json.loads(raw[4 : 4 + length]), np.frombuffer(raw[4 + length :], np.uint8)
    n, p = head["voxels"], head["object_points"]
    planes = body[: 10 * n].reshape(10, n).astype(np.int64)
    codes = np.cumsum(planes[:3] + 256 * planes[3:6], axis=1) % 65536
    head["points"] = codes.T * head["step_m"] + head["low"] + np.array(head["origin"])
    head["rgb"] = planes[6:9].T
    rest = body[10 * n :].tobytes()
    head["shape"] = np.frombuffer(rest[: 6 * p], "<i2").reshape(p, 3) * head["object_step_m"]
    assert len(rest) == 9 * p
    return head


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return street_log.make_log(tmp_path_factory.mktemp("street"))


def test_scene_is_the_log(street):
    scene, static, moving = decode(encode_scene(street)), street.static(), street.moving()
    assert scene["voxels"] == len(static.index)
    # The origin is written in centimetres.
    np.testing.assert_allclose(scene["points"], static.points_world, atol=0.01)
    np.testing.assert_array_equal(scene["rgb"], static.rgb)
    np.testing.assert_allclose(scene["shape"], moving.points_object, atol=0.0051)
    (track,) = scene["tracks"]
    states = np.array(track["states"])
    np.testing.assert_allclose(states[:, 0], 0.5 * np.arange(street_log.T))
    places = moving.world_T_object[:, :3, 3] - scene["origin"]
    np.testing.assert_allclose(states[:, 1:4], places, atol=0.001)
    np.testing.assert_allclose(np.abs(states[:, 4]), np.pi, atol=0.001)
    np.testing.assert_allclose(np.array(scene["path"])[:, 1], 2.0 * np.arange(street_log.T))
    assert scene["seconds"] == 2.0


def test_a_large_map_is_thinned_until_it_fits(tmp_path, monkeypatch):
    store = street_log.make_log(tmp_path, n=30_000)
    whole = encode_scene(store)
    monkeypatch.setattr(embedded_scene, "MOST_BYTES", len(whole) // 3)
    text = encode_scene(store)
    assert 0.8 * len(whole) / 3 < len(text) <= len(whole) / 3
    left, points = decode(text)["points"], store.static().points_world
    # Evenly: the middle of what is left is that of all.
    np.testing.assert_allclose(left.mean(axis=0), points.mean(axis=0), atol=6.0)
    assert MOST_BYTES == 1_500_000


def test_a_page_without_room_names_the_viewer_instead(street, tmp_path, monkeypatch):
    log = street_log.read_result(street, tmp_path)
    page = write_report(tmp_path, RunResult("run", {}, (log,), ())).read_text()
    assert encode_scene(street) in page
    assert "left out to keep" not in page
    monkeypatch.setattr("driv3r.reporting.html.EMBED_BYTES", len(encode_scene(street)))
    page = write_report(tmp_path, RunResult("run", {}, (log,), ())).read_text()
    assert encode_scene(street) not in page
    assert f"driv3r view {street.path}" in page
    assert "<script" not in page


def test_a_roof_is_known(street, tmp_path):
    assert not decode(encode_scene(street))["covered"]
    assert decode(encode_scene(street_log.make_log(tmp_path, roof=True)))["covered"]


def test_map_from_above_shows_the_road_below_the_roof(tmp_path):
    picture = draw_birds_eye(street_log.make_log(tmp_path, roof=True)).astype(int)
    red, green, blue = picture.reshape(-1, 3).T
    assert np.mean((red > 150) & (green < 90) & (blue < 90)) > 0.3  # road
    assert np.mean((blue > 150) & (red < 90)) == 0  # roof
    assert np.mean(picture.min(axis=-1) > 240) > 0.001  # path and scale
    # x to the right, y up: the wall is at the left of the car, which drives to +x.
    rows, _ = np.nonzero((picture[..., 1] > 150) & (picture[..., 0] < 90))
    assert rows.max() < picture.shape[0] / 2
