"""`driv3r datasets`: the list, one dataset's card, and the check with its exit status."""

import json
import shutil
from pathlib import Path

import pytest

import driv3r.datasets as datasets
from driv3r.datasets import READERS
from tests.cli.test_cli import run_main
from tests.cli.test_rig import run
from tests.datasets import tiny_nuscenes as tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("nuscenes") / "root")


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "root")


class PluginReader:
    """Another package's, without a card."""

    def __init__(self, root: Path, sweeps: bool, follow_links: bool) -> None:
        pass

    def scenes(self, split: str) -> tuple[str, ...]:
        return ()

    def read(self, scene_id: str) -> None:
        raise AssertionError(scene_id)


def test_the_list_tells_of_ours_and_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = READERS | {"dashcam": PluginReader}
    monkeypatch.setattr(datasets, "list_readers", lambda: listed)
    code, said = run("datasets")
    assert code == 0
    for name, make in READERS.items():
        assert f"{name}: {make.card.title}" in said  # type: ignore[attr-defined]
        assert make.card.licence in said  # type: ignore[attr-defined]
    assert "dashcam: tells nothing of itself" in said
    assert "nothing of itself" in run("datasets", "show", "dashcam")[1]
    code, said = run("datasets", "check", "dashcam", "--root", ".")
    assert code == 2
    assert "0 of 0 scenes are usable" in said


def test_show_prints_the_card(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    code, said = run("datasets", "show", "pandaset")
    assert code == 0
    for words in ("licence:", "CC BY 4.0", "huggingface.co", "camera/front_camera/", "--protocol"):
        assert words in said
    code, said = run_main(monkeypatch, capsys, "datasets", "show", "nothing")
    assert code == 2
    assert "no dataset 'nothing'; known: nuscenes" in said


def test_a_whole_dataset_ends_with_0(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    code, said = run("datasets", "check", "nuscenes", "--root", root, "--json", file)
    assert code == 0, said
    assert "split val:            2 scenes" in said
    assert "scene-0003: usable: 3 frames (3 keyframes), 1.0 s, up to 8.1 m/s" in said
    assert "CAM_FRONT 100%" in said
    assert "2 of 2 scenes are usable" in said
    told = json.loads(file.read_text())
    assert [scene["scene_id"] for scene in told["scenes"]] == list(tiny.SCENES)
    assert told["status"] == 0


def test_what_is_missing_is_told_and_ends_with_1(root: Path) -> None:
    for path in root.glob("samples/CAM_*/scene-0003*"):
        path.unlink()
    front = next(root.glob("samples/CAM_FRONT/scene-0012*"))
    front.write_bytes(front.read_bytes()[:-40])
    code, said = run("datasets", "check", "nuscenes", "--root", root, "--split", "val")
    assert code == 1
    assert "scene-0003: NO IMAGE" in said
    assert "repaired 6 x: view left out: the file is missing" in said
    assert "CAM_FRONT 67% (1 of 3 do not open)" in said
    assert "1 of 2 scenes are usable" in said
    code, said = run(
        "datasets", "check", "nuscenes", "--root", root, "--scene", "scene-0012", "--quick"
    )
    assert code == 0
    assert "scene-0003" not in said


def test_nothing_usable_ends_with_2(root: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (root / "v1.0-trainval/ego_pose.json").write_text("[]")
    code, said = run("datasets", "check", "nuscenes", "--root", root)
    assert code == 2
    assert "scene-0003: NOT READABLE: DatasetError" in said
    code, said = run_main(monkeypatch, capsys, "datasets", "check", "ddad", "--root", str(root))
    assert code == 2
    assert "no JSON file with scene_splits" in said
    assert "Traceback" not in said
