"""Compiled kernels are those of the sources, and numba's settings stay everyone's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driv3r.simulator.rendering.jit import SIMULATOR

OUTER = """
from driv3r.simulator.parts.inner import inner
from driv3r.simulator.rendering.jit import kernel

@kernel
def outer(x):
    return inner(x)

print(outer(1.0), sum(outer.stats.cache_hits.values()))
"""
JIT = "from driv3r.simulator.rendering.jit import kernel\n"
INNER = JIT + "\n@kernel\ndef inner(x):\n    return x + 1.0\n"
SETTINGS = """
from numba.core import config
before = config.CACHE_DIR
import driv3r.simulator.rendering.renderer
from numba import njit

def others(x):
    return x

assert config.CACHE_DIR == before
print(njit(cache=True)(others).stats.cache_path if before else "no folder given")
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A folder with a copy of the package, in whose world one kernel calls another file's."""
    ignored = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(SIMULATOR.parent, tmp_path / "driv3r", ignore=ignored)
    (tmp_path / "driv3r/simulator/parts").mkdir()
    (tmp_path / "driv3r/simulator/parts/__init__.py").touch()
    (tmp_path / "driv3r/simulator/parts/inner.py").write_text(INNER)
    (tmp_path / "driv3r/simulator/outer.py").write_text(OUTER)
    return tmp_path


def test_a_kernel_is_cached_until_what_it_calls_in_another_file_changes(package):
    """Also of a folder below; the changed file has the size that it had."""
    assert ask(package) == "2.0 0"
    assert ask(package) == "2.0 1"
    (package / "driv3r/simulator/parts/inner.py").write_text(INNER.replace("1.0", "5.0"))
    assert ask(package) == "6.0 0"
    assert ask(package) == "6.0 1"


def test_other_users_of_numba_keep_their_cache(tmp_path):
    script = tmp_path / "others.py"
    script.write_text(SETTINGS)
    for given in ("", str(tmp_path / "theirs")):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=SIMULATOR.parents[1],
            env={**os.environ, "NUMBA_CACHE_DIR": given, "PYTHONPATH": str(SIMULATOR.parents[1])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(given or "no folder")


def ask(folder: Path) -> str:
    # Python tells a changed source by its second and its size, which are the same here.
    done = subprocess.run(
        [sys.executable, "-c", "import driv3r.simulator.outer"],
        cwd=folder, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout.strip()
