"""The wheel holds all that runs need, wherever it is installed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
RUN = "import sys; from driv3r.cli import main; sys.argv = ['driv3r', *sys.argv[1:]]; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that holds the wheel's files and nothing else of driv3r."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(TOP / "driv3r", source / "driv3r", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("driv3r-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(site: Path, *arguments: str) -> str:
    """What a command of the installed package prints, from a folder of its own."""
    script = f"import driv3r; assert driv3r.__file__.startswith({str(site)!r}); {RUN}"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=site.parent, env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_helps_and_knows_its_models(installed):
    assert "Reconstruct every log" in run(installed, "process", "--help")
    assert "vggt" in run(installed, "models")
    (metadata,) = installed.glob("*.dist-info/METADATA")
    assert "License-Expression: Apache-2.0" in metadata.read_text()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


def test_it_makes_a_world_and_reconstructs_it(installed, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text("seeds: [3]\nkeyframes: 1\nsize_hw: [64, 112]\ncamera_hz: 2\nlidar_hz: 20\n")
    root, out = tmp_path / "nuscenes", tmp_path / "out"
    run(installed, "world", "make", "--root", str(root), "--recipe", str(recipe))
    given = ("--root", str(root), "--out", str(out), "--inline")
    told = run(installed, "process", "--dataset", "nuscenes", *given)
    assert "report.html" in told
    assert (out / "report" / "report.html").stat().st_size > 10_000
