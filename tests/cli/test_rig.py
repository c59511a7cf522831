"""`driv3r rig` and images of one's own at the command line: words, exit status, pictures."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from driv3r import open_log
from driv3r.cli.app import app
from driv3r.errors import StoreError
from driv3r.pipelines.fuse_logs import fuse_logs
from tests.cli.test_cli import run_main
from tests.datasets import tiny_folder as tiny


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "drive", 2)


def test_a_good_rig_is_drawn(log: Path, tmp_path: Path) -> None:
    road = np.random.default_rng(0).uniform(-10, 10, (3000, 3)) * [1, 1, 0] - [0, 0, 1.8]
    for path in (log / "lidar").iterdir():
        np.save(path, road.astype(np.float32))
    page, picture = tmp_path / "check.html", tmp_path / "check.png"
    code, said = run("rig", "check", log / "rig.yaml", "--images", log, "--out", page)
    assert code == 0, said
    assert "nothing looks wrong" in said
    assert "front: at 1.50, 0.00, 1.60 m, looks +0 degrees left of forward" in said
    assert page.read_text().count("data:image/png") == 3  # the rig, and a picture a camera
    assert run("rig", "check", log / "rig.yaml", "--out", picture)[0] == 0
    drawn = cv2.imread(str(picture))
    assert (drawn != 255).any(axis=-1).mean() > 0.05
    sweep = next((log / "lidar").iterdir())
    np.save(sweep, (road + [0, 0, 1]).astype(np.float32))
    code, said = run("rig", "check", log / "rig.yaml", "--lidar", sweep)
    assert code == 0  # doubtful only
    assert "ground_z_m is 0" in said


def test_a_wrong_rig_ends_with_1_and_the_remedy(log: Path) -> None:
    content = tiny.rig()
    content["cameras"][0]["ego_T_cam"] = np.linalg.inv(tiny.FRONT).tolist()
    tiny.write_rig(log / "rig.yaml", content)
    code, said = run("rig", "check", log / "rig.yaml", "--out", log / "a.png")
    assert code == 1
    assert "camera_T_ego, not ego_T_cam: give the inverse" in said
    assert not (log / "a.png").exists()


def test_images_that_can_not_be_read_are_wrong(log: Path) -> None:
    for path in (log / "images/left").iterdir():
        cv2.imwrite(str(path), np.zeros((10, 10, 3), np.uint8))
    code, said = run("rig", "check", log / "rig.yaml", "--images", log)
    assert code == 1
    assert "wrong: left: none of 2 images can be read" in said
    assert "(10, 10)" in said


def test_a_rig_from_another_tool(tmp_path: Path) -> None:
    chain = tmp_path / "camchain.yaml"
    lens = {"camera_model": "pinhole", "distortion_model": "none", "resolution": [640, 480]}
    chain.write_text(yaml.safe_dump({"cam0": lens | {"intrinsics": [400.0, 400.0, 318.0, 241.0]}}))
    out = tmp_path / "rig.yaml"
    code, said = run("rig", "from", "kalibr", chain, "--height-m", "1.3", "--out", out)
    assert code == 0
    assert "1 cameras" in said
    assert "1.3 m over the road" in out.read_text()
    assert run("rig", "check", out)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rig", "check", "nowhere.yaml"), "driv3r rig from"),
        (("rig", "from", "matlab", "x"), "known: kalibr"),
        (("rig", "from", "kalibr", "x.yaml", "--height-m", "1"), "x.yaml"),
        (("rig", "from", "nuscenes", "."), "--scene"),
        (("process", "--images", "a", "--dataset", "ddad"), "short for"),
        (("process", "--images", "."), "images/<camera>/<time>.jpg"),
        (("process", "--dataset", "ddad", "--root", ".", "--rig", "r.yaml"), "leave --rig out"),
    ],
)
def test_errors_are_one_line_with_a_remedy(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text = run_main(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in text
    assert "Traceback" not in text


def test_a_dashcam_without_poses_is_reconstructed_and_not_scored(
    log: Path, tmp_path: Path, monkeypatch
) -> None:
    """Also what it may not do: take poses as given, where there are none."""
    monkeypatch.chdir(tmp_path)
    content = tiny.rig()
    content["cameras"], rig = content["cameras"][:1], tmp_path / "dashcam.yaml"
    tiny.write_rig(rig, content)
    shutil.rmtree(log / "lidar")
    for name in ("poses.csv", "rig.yaml"):
        (log / name).unlink()
    mask = np.full(tiny.SIZE_HW, 255, np.uint8)
    mask[16:] = 0
    (log / "masks").mkdir()
    cv2.imwrite(str(log / "masks/front.png"), mask)
    common = ("process", "--images", log, "--rig", rig, "--inline", "--quiet")
    code, said = run(*common, "--out", tmp_path / "out")
    assert code == 0, said
    store = open_log(tmp_path / "out/drive.zarr")
    assert [camera.name for camera in store.rig.cameras] == ["front"]
    assert store.scale == "metric"
    assert "Up to scale." not in (tmp_path / "out/report/report.html").read_text()
    np.testing.assert_array_equal(store.world_T_ego()[0], np.eye(4))
    assert store.scores() == ()
    known = np.isfinite(store.prediction(1).depth_m[0])
    assert known[: len(known) // 2].mean() > 0.9
    assert not known[len(known) // 2 :].any()
    assert (store.static().points_world[:, 2] > 0).all()  # the road is all behind the mask
    assert run("verify", tmp_path / "out/drive.zarr")[0] == 0
    with pytest.raises(StoreError, match="a file of poses in a world that others share"):
        fuse_logs([tmp_path / "out/drive.zarr"], tmp_path / "joint.zarr")
    code, said = run(*common, "--out", tmp_path / "given", "--ego-poses", "given")
    assert code == 1
    assert "has no poses" in " ".join(said.split())


def test_a_dashcam_of_which_nothing_is_known(tmp_path: Path, monkeypatch) -> None:
    """Images alone are enough, and what comes of them is said to be up to scale."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trip").mkdir()
    for i in range(2):
        image = tiny.image(i)[..., ::-1]
        cv2.imwrite(str(tmp_path / f"trip/{i * tiny.STEP_US:07d}.png"), image)
    code, said = run("process", "--images", "trip", "--inline", "--out", "out")
    assert code == 0, said
    assert "intrinsics are unknown: taken for a pinhole 60 degrees across" in said
    assert "up to scale, as cameras are assumed and not calibrated: trip" in said
    assert open_log(tmp_path / "out/trip.zarr").scale == "similarity"
    code, said = run("process", "--images", "trip", "--inline", "--fuse", "lidar", "--out", "b")
    assert code == 1
    assert "--fuse lidar needs metres" in " ".join(said.split())


def test_the_check_tells_what_is_assumed(tmp_path: Path) -> None:
    nothing = {"name": "front", "intrinsics": "unknown", "ego_T_cam": "unknown"}
    camera = nothing | {"size_wh": [1920, 1080], "fov_deg": 75, "camera_height_m": 1.2}
    rig = tiny.write_rig(tmp_path / "rig.yaml", {"cameras": [camera]})
    code, said = run("rig", "check", rig)
    assert code == 0
    assert "taken for a pinhole 75 degrees across" in said
    assert "taken to look level and ahead, 1.2 m over the road" in " ".join(said.split())
