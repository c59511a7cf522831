"""The light core: logs are opened and scored without torch, OpenCV or Ray."""

import subprocess
import sys

import store_logs as logs

from driv3r.store.commit import commit

SCRIPT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "cv2", "ray", "numba", "jinja2", "tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import numpy as np
import driv3r
from driv3r.evaluation.metrics.depth import DepthScorer
from driv3r.evaluation.metrics.ego import score_ego
from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.protocol import PROTOCOLS

log = driv3r.open_log(sys.argv[1])
assert log.points_world(1, 0).shape == (6, 8, 3)
assert len(log.static().index) == 500
drive = np.tile(np.eye(4), (5, 1, 1))
drive[:, 0, 3] = np.arange(5.0)
scores = score_ego(drive, drive, np.arange(5), "x").scores
print({(s.metric, s.scaling): s.value for s in scores}["ate_rmse", "se3"])
"""


def test_a_log_is_opened_and_paths_are_scored_without_heavy_libraries(tmp_path):
    logs.write_log(tmp_path / "staging")
    commit(tmp_path / "staging", tmp_path / "log-1.zarr")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "log-1.zarr")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert abs(float(done.stdout)) < 1e-9


def test_a_command_that_needs_more_says_what_to_install():
    block = SCRIPT.split("import numpy")[0]
    command = "sys.argv = ['driv3r', 'models']; from driv3r.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", block + command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'driv3r[all]'" in done.stderr
    assert "Traceback" not in done.stderr
