"""The Python of docs/ does what it says."""

import re
from pathlib import Path

import cv2
import numpy as np

from driv3r.datasets.preprocess import prepare_rig
from driv3r.inference.registry import load_system
from driv3r.pipelines.preflight import make_provenance, resolve
from driv3r.pipelines.worker import make_header
from driv3r.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def blocks_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)


def block_of(page: str) -> str:
    return blocks_of(page)[0]


def test_ones_own_rig():
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 255, (900, 1600, 3)).astype(np.uint8) for _ in range(2)]
    names = {"frames": [(i * 100_000, [shot]) for i, shot in enumerate(shots)]}
    exec(block_of("how-to/own-rig.md"), names)
    points_ego, camera = names["points_ego"], names["camera"]
    assert points_ego.shape == (256, 448, 3)
    forward_m = points_ego[..., 0] - camera.ego_T_cam[0, 3]  # the camera looks along x
    np.testing.assert_allclose(forward_m, names["depth_m"], rtol=1e-5)


def test_a_dataset_of_ones_own(tmp_path):
    (tmp_path / "drive").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        image = rng.integers(0, 255, (64, 112, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "drive" / f"{i * 100_000:010d}.png"), image)
    names: dict = {}
    exec(block_of("how-to/dataset.md"), names)
    reader = names["DashcamReader"](tmp_path)
    assert reader.scenes("all") == ("drive",)
    scene = reader.read("drive")
    assert [frame.views[0].image.shape for frame in scene.frames] == [(64, 112, 3)] * 3
    assert scene.rig.cameras[0].K[0, 2] == 56.0  # half a pixel on
    assert scene.frames[1].views[0].path == "drive/0000100000.png"
    settings = resolve(Settings("nuscenes", tmp_path))
    system = load_system(settings)
    work = prepare_rig(scene.rig, system.size_hw)
    assert make_header(settings, make_provenance(settings), scene, work, system).input_hash


def test_concepts(finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "demo").symlink_to(finished[1])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks_of("concepts.md"):
        exec(block, names)
    log, prediction, static = names["log"], names["prediction"], names["static"]
    seen = np.isfinite(names["depth_m"])
    assert np.all(names["near_m"][seen] < names["depth_m"][seen])
    assert np.all(names["depth_m"][seen] < names["far_m"][seen])
    assert len(names["surface_world"]) == len(static.index) > 0
    np.testing.assert_allclose(names["prev_T_curr"], prediction.prev_T_curr, atol=1e-6)
    told = capsys.readouterr().out
    assert f"{log.header.model}: " in told
    assert "floor: 0.0" in told


def test_pages_name_only_code_and_files_that_are_there():
    """What the site's strict build can not see: paths in the text, relative to the repository."""
    top = DOCS.parent
    places = re.compile(r"`((?:driv3r|tools|benchmarks|tests|docs)/[\w./-]+)`")
    for page in [top / "README.md", *DOCS.glob("*.md"), *DOCS.glob("how-to/*.md")]:
        for path in places.findall(page.read_text()):
            assert (top / path).exists(), f"{page.relative_to(top)} names {path}"
