"""Compiled kernels are those of the sources."""

import shutil
import subprocess
import sys

from driv3r.world.kernel import HERE


def test_a_kernel_is_compiled_anew_when_what_it_calls_in_another_file_changes(tmp_path):
    shutil.copytree(HERE.parent, tmp_path / "driv3r", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "driv3r/world/inner.py").write_text(
        "from driv3r.world.kernel import kernel\n\n@kernel\ndef inner(x):\n    return x + 1.0\n"
    )
    (tmp_path / "driv3r/world/outer.py").write_text(
        "from driv3r.world.inner import inner\nfrom driv3r.world.kernel import kernel\n\n"
        "@kernel\ndef outer(x):\n    return inner(x)\n\nprint(outer(1.0))\n"
    )
    assert ask(tmp_path) == "2.0"
    changed = (tmp_path / "driv3r/world/inner.py").read_text().replace("1.0", "5.0")
    (tmp_path / "driv3r/world/inner.py").write_text(changed)
    assert ask(tmp_path) == "6.0"


def ask(folder) -> str:
    # Python tells a changed source by its second and its size, which are the same here.
    done = subprocess.run(
        [sys.executable, "-c", "import driv3r.world.outer"],
        cwd=folder, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout.strip()
