"""The scripts of examples/ run on an export and tell what is so."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_drive import WALKER, make_moving, make_static

from driv3r.export import ExportSelection, export_log

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def exported(drive, images_root, tmp_path) -> Path:
    selection = ExportSelection(images="copy", root=images_root, layers=("static", "cameras"))
    export_log(drive, ["3dgs", "nerfstudio"], selection, tmp_path)
    export_log(drive, ["csv", "ply"], ExportSelection(), tmp_path)
    return tmp_path / "drive-1"


def run(name: str, *arguments: Path | str) -> str:
    words = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gsplats_arguments_are_loaded(exported):
    pytest.importorskip("trimesh")
    torch = pytest.importorskip("torch")
    example = load("gsplat_initialise")
    gaussians = example.load_gaussians(exported / "3dgs/point_cloud.ply")
    n = len(make_static().index)
    shapes = {name: tuple(values.shape) for name, values in gaussians.items()}
    assert shapes == {
        "means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "colors": (n, 16, 3)
    }  # fmt: skip
    torch.testing.assert_close(gaussians["quats"].norm(dim=-1), torch.ones(n))
    front, back = list(example.load_views(exported / "nerfstudio"))[:2]
    assert front["image"].shape == (1, front["height"], front["width"], 3)
    # Each camera sees a part of the road, and no gaussian is seen by both.
    shares = [example.share_in_view(gaussians, view) for view in (front, back)]
    assert min(shares) > 0.05
    assert sum(shares) < 1
    # The depth that goes along is that of the points: the road, in the camera.
    depth_m, K = front["depth_m"][0, -1, 16, 0], front["Ks"][0]
    down = (front["height"] - 0.5 - K[1, 2]) / K[1, 1] * depth_m
    assert float(down) == pytest.approx(1.5, abs=0.01)  # the camera's height


def test_pandas_sums_up_tracks(exported):
    pandas = pytest.importorskip("pandas")
    table = load("tracks_in_pandas").summarise(pandas.read_csv(exported / "csv/tracks.csv"))
    moving = make_moving()
    places = moving.world_T_object[moving.track_id == WALKER, :3, 3]
    assert table.way_m[WALKER] == pytest.approx(np.linalg.norm(places[-1] - places[0]))
    assert table.seconds[WALKER] == pytest.approx(0.5)
    assert table.speed_mps[WALKER] == pytest.approx(np.hypot(6.0, 0.5))
    assert "way_m" in run("tracks_in_pandas.py", exported / "csv/tracks.csv")


def test_labels_are_matched_once_and_near():
    match = load("check_auto_labels").match
    truth = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    found = np.array([[0.5, 0.0, 9.0], [1.0, 0.0, 0.0], [5.0, 1.5, 0.0], [90.0, 0.0, 0.0]])
    assert [(i, k) for i, k, _ in match(found, truth)] == [(0, 0), (2, 1)]
    assert match(found[:0], truth) == []


def test_open3d_reads_the_points(exported):
    """Open3D is no requirement of the tests, for its size."""
    pytest.importorskip("open3d")
    told = run("open_in_open3d.py", exported / "ply", "--frame", "1", "--no-window")
    assert told.startswith(f"{len(make_static().index)} points")
    assert len(told.splitlines()) == 2
