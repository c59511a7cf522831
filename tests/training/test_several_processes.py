"""Several processes agree on what ends a run and on what it was trained on."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

from driv3r.errors import ConfigError, TrainingError
from driv3r.models.checkpoints import load_weights
from driv3r.models.driv3r.network import Driv3rConfig
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, ensure_clip
from driv3r.training import trainer
from driv3r.training.config import DataConfig, TrainConfig
from driv3r.training.distributed import init_distributed
from driv3r.training.trainer import train

SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
DATA = DataConfig(
    ClipConfig(size_hw=(32, 48), frames=2), min_clips=2, max_clips=4, shapes=((1, 2),),
    half_size_shapes=(), views=3,
)  # fmt: skip
RECIPE = TrainConfig(
    "tiny", SMALL, DATA, steps=2, validate_every=9, validation_clips=1, log_every=2
)

BOTH = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_several_processes import RECIPE
from driv3r.training.trainer import train
if __name__ == "__main__":
    train(RECIPE, Path(sys.argv[1]) / "run", workers=1)
"""
DIVERGES = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_several_processes import RECIPE
from driv3r.training import trainer

rank, real = os.environ["RANK"], trainer.compute_losses

def spoilt(*arguments):
    losses = real(*arguments)
    return {**losses, "total": losses["total"].detach() * float("nan") + losses["total"] * 0}

if rank == "1":
    trainer.compute_losses = spoilt
try:
    trainer.train(replace(RECIPE, steps=9, save_every_s=0.0), Path(sys.argv[1]) / "bad")
except trainer.TrainingError as error:
    Path(sys.argv[1], f"rank-{rank}.txt").write_text(str(error))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four clips, rendered once; runs look for them in <run>/../clips."""
    folder = tmp_path_factory.mktemp("train")
    for seed in range(FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + 4):
        ensure_clip(folder / "clips", seed, DATA.clips)
    return folder


def run_twice(script: Path, text: str, folder: Path) -> None:
    """Two processes of a script; they fail if they do not end."""
    script.write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(script), str(folder), str(Path(__file__).parent)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_card_names_the_clips_of_both_processes(folder, tmp_path):
    """Each renders ahead a half of the clips, and needs both of its own before the first step."""
    run_twice(tmp_path / "both.py", BOTH, folder)
    card = load_weights(folder / "run" / "tiny.safetensors")[1]
    assert card["train_seeds"] == [[FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + 3]]
    assert card["history"][-1]["clips"] == 4


def test_a_loss_that_is_not_finite_in_one_process_ends_both(folder, tmp_path):
    run_twice(tmp_path / "diverges.py", DIVERGES, folder)
    for rank in (0, 1):
        assert "not finite by step 2" in (folder / f"rank-{rank}.txt").read_text()
    assert not (folder / "bad" / "checkpoint.pt").exists()  # its weights are spoilt


def test_a_loss_that_is_not_finite_is_an_error_of_its_own(folder, monkeypatch):
    real = trainer.compute_losses

    def spoilt(*arguments):
        losses = real(*arguments)
        return {**losses, "total": losses["total"] * float("inf")}

    train(dataclasses.replace(RECIPE, steps=1), folder / "alone")
    kept = (folder / "alone" / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(trainer, "compute_losses", spoilt)
    longer = dataclasses.replace(RECIPE, steps=9, log_every=3, save_every_s=0.0)
    with pytest.raises(TrainingError, match="lower `learning_rate`") as error:
        train(longer, folder / "alone")
    assert not isinstance(error.value, ConfigError)
    assert (folder / "alone" / "checkpoint.pt").read_bytes() == kept


def test_a_gpu_is_chosen_before_its_processes_meet(monkeypatch):
    """Without a GPU: what would be asked of one, in order."""
    asked: list = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(str(device)))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: asked.append("end"))
    monkeypatch.setattr(
        distributed, "init_process_group",
        lambda backend, **options: asked.append((backend, options)),
    )  # fmt: skip
    with init_distributed("cuda:1") as group:
        assert (group.rank, group.size) == (1, 2)
    assert asked == ["cuda:1", ("nccl", {"device_id": torch.device("cuda:1")}), "end"]
