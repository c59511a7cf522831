import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from driv3r.pipelines.batches import (
    DataRecipe,
    collate,
    ego_rates,
    make_batch,
    make_example,
    misjudge,
)
from driv3r.pipelines.crew import choose_local_device
from driv3r.pipelines.train import TrainRecipe, rate_at, resume, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from driv3r.errors import CheckpointError, ConfigError
from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.network.checkpoints import load_weights, save_weights
from driv3r.network.losses import LossWeights, compute_losses
from driv3r.network.surround import Driv3r, Driv3rConfig
from driv3r.world.clips import FIRST_TRAIN_SEED, ClipRecipe, ensure_clip, read_clip

SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
DATA = DataRecipe(ClipRecipe(size_hw=(32, 48), frames=2), start=2, most=2, shapes=((1, 2),))
RECIPE = TrainRecipe("tiny", SMALL, DATA, steps=6, check_every=6, check_clips=1, log_every=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips and a check clip, rendered once; runs look for them in <run>/../clips."""
    folder = tmp_path_factory.mktemp("train")
    for seed in (FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + 1):
        ensure_clip(folder / "clips", seed, DATA.clips)
    return folder


def test_a_cut_run_ends_with_the_weights_of_a_whole_one(clips):
    rows: list[dict] = []
    whole, card = load_weights(train(RECIPE, clips / "whole", report=rows.append, helpers=0))
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert {"check_abs_rel", "check_motion_iou", "check_velocity_mps"} <= rows[-1].keys()
    assert card["steps"] == 6

    # the same schedule, cut at step 3 by an interrupt between two steps
    class Cut(Exception):
        pass

    def cut(row):
        if row["step"] == 3:
            raise Cut

    eager = dataclasses.replace(RECIPE, save_every_s=0.0)
    with pytest.raises(Cut):
        train(eager, clips / "cut", report=cut, helpers=0)
    resumed, _ = load_weights(train(eager, clips / "cut", helpers=0))
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_network_is_judged_when_it_is_due_and_not_only_where_losses_are_told(clips):
    rows: list[dict] = []
    rare = dataclasses.replace(RECIPE, steps=5, log_every=2, check_every=5)
    train(rare, clips / "rare", report=rows.append, helpers=0)
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert [row["step"] for row in rows if "check_abs_rel" in row] == [5]


def test_a_checkpoint_of_another_network_is_refused(clips):
    train(dataclasses.replace(RECIPE, steps=1), clips / "other", helpers=0)
    wider = dataclasses.replace(RECIPE, model=dataclasses.replace(SMALL, width=48, heads=3))
    with pytest.raises(CheckpointError, match="another network"):
        train(wider, clips / "other", helpers=0)


def test_earlier_weights_are_taken_over_where_they_fit(clips, tmp_path):
    torch.manual_seed(5)
    earlier = Driv3r(dataclasses.replace(SMALL, channels=(8, 16, 24)))
    path = tmp_path / "earlier.safetensors"
    save_weights(path, earlier.config, earlier.state_dict(), {})
    recipe = dataclasses.replace(RECIPE, start_from=str(path))
    own = resume(recipe, tmp_path / "run", torch.device("cpu")).model.state_dict()
    given = earlier.state_dict()
    torch.testing.assert_close(own["norm.weight"], given["norm.weight"])
    block = "aggregator.view.0.attention.query.weight"
    torch.testing.assert_close(own[block], given[block], rtol=0, atol=0)
    assert own["dense.stage8.conv.weight"].shape != given["dense.stage8.conv.weight"].shape
    save_weights(path, SMALL, {"nothing": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="no tensor fits"):
        resume(recipe, tmp_path / "run", torch.device("cpu"))


def test_batches_are_a_function_of_seed_and_step(clips):
    a, b = (make_batch(5, DATA, clips / "clips") for _ in range(2))
    for key in a[0]:
        np.testing.assert_array_equal(a[0][key], b[0][key])
    assert not np.array_equal(make_batch(6, DATA, clips / "clips")[0]["images"], a[0]["images"])


def test_clips_are_drawn_from_the_first_one_on(clips):
    late = dataclasses.replace(DATA, first=1, start=1, most=1)
    clip = read_clip(clips / "clips" / f"{FIRST_TRAIN_SEED + 1}.npz")
    for step in range(6):
        (example,) = make_batch(step, late, clips / "clips")
        shown = np.sort(example["depth_m"], axis=None)  # whichever way it is mirrored
        np.testing.assert_array_equal(shown, np.sort(clip.depth_m, axis=None))
    for first in (-1, FIRST_TRAIN_SEED):  # evaluated worlds, clips that training is judged by
        with pytest.raises(ConfigError, match="expected numbers"):
            dataclasses.replace(DATA, first=first)


def test_a_mirrored_example_is_the_mirror_image(clips):
    path = clips / "clips" / f"{FIRST_TRAIN_SEED}.npz"
    plain = make_example(read_clip(path), 2, 0.0, np.random.default_rng(0), plain=True)
    seen = {}
    for seed in range(8):
        example = make_example(read_clip(path), 2, 0.0, np.random.default_rng(seed))
        flipped = not np.array_equal(example["depth_m"], plain["depth_m"])
        seen[flipped] = example
    assert set(seen) == {True, False}
    mirrored = seen[True]
    np.testing.assert_array_equal(mirrored["depth_m"], plain["depth_m"][..., ::-1])
    np.testing.assert_allclose(mirrored["rays"][:, 1], -plain["rays"][:, 1, :, ::-1])
    np.testing.assert_allclose(mirrored["ego_rate"][:, [1, 3, 5]], -plain["ego_rate"][:, [1, 3, 5]])
    np.testing.assert_allclose(mirrored["ego_rate"][:, [0, 2, 4]], plain["ego_rate"][:, [0, 2, 4]])


def test_rates_of_a_steady_turn():
    step = from_rotvec(np.array([0, 0, 0.1]), np.array([2.0, 0, 0]))
    poses = np.stack([np.eye(4), step, step @ step])
    rates = ego_rates(poses, np.array([0, 500_000, 1_000_000]))
    np.testing.assert_allclose(rates[0], 0)
    np.testing.assert_allclose(rates[1:], [[4, 0, 0, 0, 0, 0.2]] * 2, atol=1e-12)


def test_the_rate_warms_up_stays_and_falls():
    recipe = TrainRecipe("x", steps=1000, warmup_steps=100, cooldown=0.5, rate=1.0)
    rates = [rate_at(step, recipe) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == rates[499] == 1.0
    assert rates[750] == pytest.approx(0.5)
    assert rates[999] < 0.02


def test_fresh_clips_never_touch_the_disk(tmp_path):
    fresh = dataclasses.replace(DATA, fresh=True, shapes=((2, 1),))
    a, b = (make_batch(3, fresh, tmp_path / "clips") for _ in range(2))
    assert not (tmp_path / "clips").exists()
    assert len(a) == 2
    assert a[0]["images"].shape == a[1]["images"].shape  # rigs of any size, cut to the smaller
    for key in a[0]:
        np.testing.assert_array_equal(a[0][key], b[0][key])
    other = make_batch(4, fresh, tmp_path / "clips")
    assert other[0]["depth_m"].shape != a[0]["depth_m"].shape or not np.array_equal(
        other[0]["depth_m"], a[0]["depth_m"]
    )


CREW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_train import PAIRED
from driv3r.pipelines.train import train
train(PAIRED, Path(sys.argv[1]), helpers=0)
"""
PAIRED = dataclasses.replace(RECIPE, steps=3, check_every=3, warmup_steps=1, cooldown=0.01)


def test_two_processes_take_the_steps_that_one_takes_of_two_batches(clips, tmp_path):
    script = tmp_path / "crew.py"
    script.write_text(CREW)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(script), str(clips / "pair"), str(Path(__file__).parent)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    pair, card = load_weights(clips / "pair" / "tiny.safetensors")
    assert card["steps"] == 3
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as theirs: AdamW makes whole steps of gradients that are rounding
    alone = dataclasses.replace(PAIRED, accumulate=2)
    one, _ = load_weights(train(alone, clips / "alone", helpers=0))
    single, _ = load_weights(train(PAIRED, clips / "single", helpers=0))
    torch.set_num_threads(threads)
    assert distance(pair, one) < 0.02 * distance(single, one)


def distance(a: Driv3r, b: Driv3r) -> float:
    """Between all weights of two networks."""
    both = zip(a.parameters(), b.parameters(), strict=True)
    return sum((p - q).detach().square().sum().item() for p, q in both) ** 0.5


def test_losses_are_there_for_tensorboard(clips):
    train(PAIRED, clips / "board", helpers=0)
    events = EventAccumulator(str(clips / "board" / "events")).Reload()
    totals = events.Scalars("total")
    assert [event.step for event in totals] == [1, 2, 3]
    card = json.loads((clips / "board" / "card.json").read_text())
    np.testing.assert_allclose(
        [event.value for event in totals], [row["total"] for row in card["history"]], rtol=1e-6
    )
    assert "check/abs_rel" in events.Tags()["scalars"]


def test_a_gpu_is_that_of_the_process(monkeypatch):
    assert choose_local_device("cuda") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_local_device("cuda") == "cuda:3"
    assert choose_local_device("cuda:1") == "cuda:1"


def test_told_calibration_is_off_by_what_the_recipe_says(clips):
    clip = read_clip(ensure_clip(clips / "clips", FIRST_TRAIN_SEED, DATA.clips))
    rng = np.random.default_rng(0)
    many = [misjudge(clip, (0.5, 2.0), rng) for _ in range(60)]
    turns = np.degrees([to_rotvec(invert(clip.ego_T_cam) @ other.ego_T_cam) for other in many])
    zooms = np.log([other.K[:, 0, 0] / clip.K[:, 0, 0] for other in many])
    np.testing.assert_allclose(turns.std(), 0.5, rtol=0.15)
    np.testing.assert_allclose(zooms.std(), 0.02, rtol=0.15)
    assert misjudge(clip, (0.0, 0.0), rng) is clip
    np.testing.assert_array_equal(many[0].world_T_cam, clip.world_T_cam)


def test_calibration_is_hidden_as_often_as_the_recipe_says(clips):
    data = dataclasses.replace(DATA, calibration_drop=0.3)
    told = [make_batch(step, data, clips / "clips")[0]["calibrated"] for step in range(150)]
    rigs = np.mean([~known.any() for known in told])
    cameras = np.mean([~known for known in told])
    assert 0.2 < rigs < 0.42
    assert 0.42 < cameras < 0.6  # 1 - 0.7 * 0.7
    assert all(example["calibrated"].all() for example in make_batch(0, DATA, clips / "clips"))


def test_without_sigma_the_likelihood_is_plain_and_teaches_none(clips):
    run = resume(RECIPE, clips / "none", torch.device("cpu"))
    inputs, targets = collate(make_batch(0, DATA, clips / "clips"), run.device)
    outputs, _ = run.model(inputs)
    losses = compute_losses(outputs, targets, inputs.present, LossWeights(sigma=False))
    slope = torch.autograd.grad(losses["total"], outputs.log_sigma, allow_unused=True)[0]
    assert slope is None or not slope.any()


def test_accumulating_no_batch_is_refused():
    with pytest.raises(ConfigError, match="accumulate"):
        dataclasses.replace(RECIPE, accumulate=0)
