"""The README's Python does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

import driv3r

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


def test_a_finished_run_is_read_as_the_readme_says(
    finished_copy, tiny_world, tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nuscenes").symlink_to(tiny_world)
    (tmp_path / "out").mkdir()
    finished_copy.rename(tmp_path / "out" / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(BLOCKS[0], names)
    assert names["points_world"].shape == (256, 448, 3)
    assert len(names["static"].index) > 100
    assert [log.state for log in names["run"].logs] == ["done", "done"]


def test_ones_own_images_are_answered_as_the_readme_says():
    size_hw = (900, 1600)
    forward = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    ego_T_cam = np.eye(4)
    ego_T_cam[:3, :3], ego_T_cam[:3, 3] = forward, (1.5, 0.0, 1.6)
    K = np.array([[1250.0, 0, 800], [0, 1250, 450], [0, 0, 1]])
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 255, (*size_hw, 3)).astype(np.uint8) for _ in range(2)]
    names = {
        "K": K,
        "ego_T_cam": ego_T_cam,
        "frames": [(i * 100_000, [x]) for i, x in enumerate(shots)],
    }
    exec(BLOCKS[1], {"driv3r": driv3r} | names, names)
    last = names["prediction"]
    assert last.depth_m.shape == (1, 256, 448)
    assert last.cameras[0].K[0, 0] == pytest.approx(1250 * 448 / 1575)
    assert last.prev_T_curr.shape == (4, 4)
