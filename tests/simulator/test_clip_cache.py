"""Clips are read by no other recipe and no other code than their own, and rendered once."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driv3r.settings import PACKAGE
from driv3r.simulator.export.clips import (
    FIRST_TRAIN_SEED,
    ClipConfig,
    clip_folder,
    clip_path,
    ensure_clip,
    read_clip,
)

SMALL = ClipConfig(size_hw=(32, 48), frames=2)
WHERE = """
from pathlib import Path
from driv3r.simulator.export.clips import ClipConfig, clip_folder
print(clip_folder(Path("clips"), ClipConfig()).name)
"""
RENDER = """
import sys, time
from pathlib import Path
from driv3r.simulator.export import clips
real = clips.render_clip

def counted(seed, recipe):
    with open(sys.argv[2], "a") as log:
        log.write(f"{seed}\\n")
    time.sleep(1.0)
    return real(seed, recipe)

clips.render_clip = counted
Path(sys.argv[2]).with_name(sys.argv[3]).touch()
while len(list(Path(sys.argv[2]).parent.glob("ready-*"))) < 2:
    time.sleep(0.01)
recipe = clips.ClipConfig(size_hw=(32, 48), frames=2)
path = clips.ensure_clip(Path(sys.argv[1]), clips.FIRST_TRAIN_SEED, recipe)
print(clips.read_clip(path).images.shape)
"""


def test_a_clip_of_another_recipe_is_not_taken_for_ones_own(tmp_path):
    larger = dataclasses.replace(SMALL, size_hw=(48, 64), frames=1)
    shapes = [
        read_clip(ensure_clip(tmp_path, FIRST_TRAIN_SEED, recipe)).depth_m.shape
        for recipe in (SMALL, larger, SMALL)
    ]
    assert [shape[0] for shape in shapes] == [2, 1, 2]
    assert [shape[2:] for shape in shapes] == [(32, 48), (48, 64), (32, 48)]
    for field in dataclasses.fields(ClipConfig):  # each counts
        value = getattr(SMALL, field.name)
        other = dataclasses.replace(SMALL, **{field.name: value * 2 if value != 1.0 else 1.5})
        assert clip_folder(tmp_path, other) != clip_folder(tmp_path, SMALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(PACKAGE, folder / "driv3r", ignore=ignored)
    return folder


def where(package: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WHERE], cwd=package, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("simulator/assets/vehicles/cars.py", True),
        ("simulator/rendering/textures/brick.png", True),
        ("geometry/cameras.py", True),
        ("types.py", True),
        ("simulator/export/nuscenes_writer.py", False),
        ("training/trainer.py", False),
    ],
)
def test_clips_of_another_state_of_the_code_lie_elsewhere(package, file, counts):
    before, path = where(package), package / "driv3r" / file
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b"\n")
        assert (where(package) != before) == counts
    finally:
        path.write_bytes(kept)
    assert where(package) == before


def test_of_two_processes_one_renders_a_clip(tmp_path):
    script, log = tmp_path / "render.py", tmp_path / "rendered.txt"
    script.write_text(RENDER)
    command = [sys.executable, str(script), str(tmp_path / "clips"), str(log)]
    where = {"cwd": PACKAGE.parent, "env": {"PYTHONPATH": str(PACKAGE.parent)}}
    running = [
        subprocess.Popen([*command, f"ready-{i}"], stdout=subprocess.PIPE, text=True, **where)
        for i in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [text.split(", ")[2:4] for text in told] == [["32", "48"]] * 2
    assert log.read_text().split() == [str(FIRST_TRAIN_SEED)]
    path = clip_path(tmp_path / "clips", FIRST_TRAIN_SEED, SMALL)
    assert list(path.parent.iterdir()) == [path]  # neither locks nor halves stay
