"""Training on recorded logs among generated clips: what is drawn, recorded, skipped and refused."""

import dataclasses

import pytest
import torch

from driv3r.cli.app import main
from driv3r.errors import ConfigError
from driv3r.models.checkpoints import load_weights
from driv3r.models.driv3r.network import Driv3rConfig
from driv3r.simulator.export.clips import ClipConfig
from driv3r.training.config import DataConfig, TrainConfig
from driv3r.training.log_source import LogSource, LogSplit
from driv3r.training.trainer import train
from tests.training.test_log_clips import make_scene

CPU = torch.device("cpu")
SIZE_HW = (32, 64)
DATA = DataConfig(
    ClipConfig(size_hw=SIZE_HW, frames=2), min_clips=1, max_clips=1, shapes=((1, 2),),
    half_size_shapes=(), views=2,
)  # fmt: skip


class Streets:
    """A dataset of made streets; one has no LiDAR, one no poses, one a single pair of frames."""

    def scenes(self, split: str) -> list[str]:
        return {"all": ["good", "blind", "lost"], "bad": ["blind", "lost"], "none": []}[split]

    def read(self, name: str):
        scene = make_scene(4)
        if name == "blind":
            return dataclasses.replace(scene, rig=dataclasses.replace(scene.rig, ego_T_lidar=None))
        return dataclasses.replace(scene, poses_known=name != "lost")


def test_good_logs_give_batches_and_bad_ones_are_skipped_with_their_reasons():
    source = LogSource([LogSplit(Streets(), "all")], DATA, CPU, 0.5)
    try:
        while len(source.skipped) < 2:
            source.take(wait=True)
        inputs, targets = source.draw(3)
        again, _ = source.draw(3)
    finally:
        source.close()
    assert source.names == ["good"]
    assert "no LiDAR" in source.skipped["blind"]
    assert "no poses" in source.skipped["lost"]
    assert inputs.images.shape == (1, 2, 2, 3, *SIZE_HW)
    torch.testing.assert_close(again.images, inputs.images)
    seen = targets.depth_m[targets.valid]
    assert 0 < targets.valid.float().mean() < 1
    assert 6 < seen.min() < seen.max() < 45  # the street's board and wall
    due = [source.is_due(step) for step in range(400)]
    assert 150 < sum(due) < 250


def test_where_no_log_can_be_learned_from_the_trainer_is_told_why():
    source = LogSource([LogSplit(Streets(), "bad")], DATA, CPU, 0.5)
    with pytest.raises(ConfigError, match="none of 2 logs can be learned from.*no LiDAR"):
        source.take(wait=True)
    with pytest.raises(ConfigError, match="no log"):
        LogSource([LogSplit(Streets(), "none")], DATA, CPU, 0.5)
    with pytest.raises(ConfigError, match="log share"):
        LogSource([LogSplit(Streets(), "all")], DATA, CPU, 0.0)


def test_a_run_on_logs_and_generated_clips_names_its_logs_in_the_weights(tmp_path):
    network = Driv3rConfig(SIZE_HW, width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
    config = TrainConfig(
        "mixed", network, DATA, steps=4, validate_every=9, validation_clips=1, log_every=1
    )
    rows: list[dict] = []
    path = train(
        config, tmp_path / "run", on_log=rows.append, logs=[LogSplit(Streets(), "all")],
        log_share=0.6,
    )  # fmt: skip
    assert len(rows) == 4
    assert all(torch.isfinite(torch.tensor(row["total"])) for row in rows)
    _, card = load_weights(path)
    assert card["logs"] == ["good"]
    assert card["train_seeds"]


def test_every_dataset_needs_a_root_and_a_split(tmp_path, monkeypatch, capsys):
    command = ["driv3r", "train", "driv3r-s", "--dataset", "pandaset", "--root", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "1 --dataset, 1 --root and 0 --split" in capsys.readouterr().err
