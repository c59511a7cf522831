"""The settings of a run, for tests of whole runs."""

from pathlib import Path

from driv3r.network.checkpoints import SHIPPED
from driv3r.pipelines.jobs import Settings
from driv3r.pipelines.process import make_settings


def settings_for(root: Path, **changes) -> Settings:
    """The settings of a plain run over a folder."""
    plain = {
        "dataset": "nuscenes",
        "root": str(root),
        "split": "val",
        "sweeps": False,
        "model": "driv3r-s",
        "weights": str(SHIPPED),
        "ego_poses": "predicted",
        "precision": "auto",
        "device": "cpu",
        "threads": 1,
        "protocol": "nuscenes",
    }
    return make_settings(**(plain | changes))
