import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from driv3r.errors import CheckpointError, ConfigError
from driv3r.models.checkpoints import load_weights, save_weights
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.simulator.export.clips import (
    FIRST_TRAIN_SEED,
    ClipConfig,
    clip_path,
    ensure_clip,
    read_clip,
)
from driv3r.training.batches import draw_batch
from driv3r.training.checkpoints import Run, load_light, save_light
from driv3r.training.clip_pool import ClipPool, put_on_device
from driv3r.training.clip_source import ClipSource
from driv3r.training.config import DataConfig, TrainConfig
from driv3r.training.distributed import ProcessGroup, choose_local_device
from driv3r.training.trainer import (
    check_schedule,
    learning_rate_at,
    progress_of,
    start_run,
    take_step,
    train,
)

CPU = torch.device("cpu")
SMALL = Driv3rConfig(size_hw=(32, 48), width=32, heads=2, stages=1, memory=2, channels=(8, 16, 16))
DATA = DataConfig(
    ClipConfig(size_hw=(32, 48), frames=2), min_clips=2, max_clips=2, shapes=((1, 2),),
    half_size_shapes=(), views=3,
)  # fmt: skip
RECIPE = TrainConfig(
    "tiny", SMALL, DATA, steps=6, validate_every=6, validation_clips=1, log_every=1
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips and a check clip, rendered once; runs look for them in <run>/../clips."""
    folder = tmp_path_factory.mktemp("train")
    for seed in (FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + 1):
        ensure_clip(folder / "clips", seed, DATA.clips)
    return folder


def test_a_cut_run_ends_with_the_weights_of_a_whole_one(clips):
    rows: list[dict] = []
    whole, card = load_weights(train(RECIPE, clips / "whole", on_log=rows.append, workers=0))
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert {"val_abs_rel", "val_motion_iou", "val_velocity_mps"} <= rows[-1].keys()
    assert card["steps"] == 6

    # the same schedule, cut at step 3 by an interrupt between two steps
    class Cut(Exception):
        pass

    def cut(row):
        if row["step"] == 3:
            raise Cut

    eager = dataclasses.replace(RECIPE, save_every_s=0.0)
    with pytest.raises(Cut):
        train(eager, clips / "cut", on_log=cut, workers=0)
    resumed, _ = load_weights(train(eager, clips / "cut", workers=0))
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_network_is_judged_when_it_is_due_and_not_only_where_losses_are_told(clips):
    rows: list[dict] = []
    rare = dataclasses.replace(RECIPE, steps=5, log_every=2, validate_every=5)
    train(rare, clips / "rare", on_log=rows.append, workers=0)
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert [row["step"] for row in rows if "val_abs_rel" in row] == [5]


def test_earlier_weights_are_taken_over_where_they_fit(clips, tmp_path):
    torch.manual_seed(5)
    earlier = Driv3r(dataclasses.replace(SMALL, channels=(8, 16, 24)))
    path = tmp_path / "earlier.safetensors"
    save_weights(path, earlier.config, earlier.state_dict(), {})
    recipe = dataclasses.replace(RECIPE, start_from=str(path))
    own = start_run(recipe, tmp_path / "run", CPU).model.state_dict()
    given = earlier.state_dict()
    torch.testing.assert_close(own["norm.weight"], given["norm.weight"])
    block = "aggregator.view.0.attention.query.weight"
    torch.testing.assert_close(own[block], given[block], rtol=0, atol=0)
    assert own["dense.stage8.conv.weight"].shape != given["dense.stage8.conv.weight"].shape
    save_weights(path, SMALL, {"nothing": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="no tensor fits"):
        start_run(recipe, tmp_path / "run", CPU)


def test_the_rate_warms_up_stays_and_falls():
    config = TrainConfig("x", steps=1000, warmup_steps=100, cooldown=0.5, learning_rate=1.0)
    rates = [learning_rate_at(step, step / 1000, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == rates[499] == 1.0
    assert rates[750] == pytest.approx(0.5)
    assert rates[999] < 0.02


CREW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trainer import PAIRED
from driv3r.training.trainer import train
train(PAIRED, Path(sys.argv[1]), workers=0)
"""
PAIRED = dataclasses.replace(RECIPE, steps=3, validate_every=3, warmup_steps=1, cooldown=0.01)


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
    one, _ = load_weights(train(alone, clips / "alone", workers=0))
    single, _ = load_weights(train(PAIRED, clips / "single", workers=0))
    torch.set_num_threads(threads)
    assert distance(pair, one) < 0.02 * distance(single, one)


def distance(a: Driv3r, b: Driv3r) -> float:
    """Between all weights of two networks."""
    both = zip(a.parameters(), b.parameters(), strict=True)
    return sum((p - q).detach().square().sum().item() for p, q in both) ** 0.5


def test_losses_are_there_for_tensorboard(clips):
    train(PAIRED, clips / "board", workers=0)
    events = EventAccumulator(str(clips / "board" / "events")).Reload()
    totals = events.Scalars("total")
    assert [event.step for event in totals] == [1, 2, 3]
    card = json.loads((clips / "board" / "card.json").read_text())
    np.testing.assert_allclose(
        [event.value for event in totals], [row["total"] for row in card["history"]], rtol=1e-6
    )
    assert "val/abs_rel" in events.Tags()["scalars"]


def test_a_gpu_is_that_of_the_process(monkeypatch):
    assert choose_local_device("cuda") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_local_device("cuda") == "cuda:3"
    assert choose_local_device("cuda:1") == "cuda:1"


def test_accumulating_no_batch_is_refused():
    with pytest.raises(ConfigError, match="accumulate"):
        dataclasses.replace(RECIPE, accumulate=0)


def test_a_run_without_an_end_or_with_impossible_batches_is_refused():
    with pytest.raises(ConfigError, match="steps"):
        TrainConfig("x", steps=0)
    for wrong in ({"first": -1}, {"first": FIRST_TRAIN_SEED}):  # evaluated and validation clips
        with pytest.raises(ConfigError, match="expected numbers"):
            dataclasses.replace(DATA, **wrong)
    with pytest.raises(ConfigError, match="min_clips"):
        dataclasses.replace(DATA, min_clips=3)
    with pytest.raises(ConfigError, match="as many as clips have"):
        dataclasses.replace(DATA, shapes=((1, 3),))


def test_a_run_ends_by_steps_or_seconds_whichever_is_first(clips):
    run = start_run(dataclasses.replace(RECIPE, seconds=100.0), clips / "none", CPU)
    run.progress.step, run.progress.seconds = 3, 20.0
    assert progress_of(run) == 0.5
    run.progress.seconds = 80.0
    assert progress_of(run) == 0.8
    rows: list[dict] = []
    short = dataclasses.replace(RECIPE, steps=0, seconds=1e-3, validate_every=100)
    train(short, clips / "short", on_log=rows.append)
    assert [row["step"] for row in rows] == [1]


def test_several_processes_need_a_schedule_by_steps():
    timed = dataclasses.replace(RECIPE, seconds=10.0)
    check_schedule(timed, ProcessGroup())
    check_schedule(RECIPE, ProcessGroup(0, 2))
    with pytest.raises(ConfigError, match="by seconds"):
        check_schedule(timed, ProcessGroup(1, 2))


def losses_from(run: Run, count: int, folder: Path) -> list[float]:
    """Total losses of the next steps of a run, on the batches of their numbers."""
    pool = ClipPool(1.0)
    for seed in (FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + 1):
        pool.add(put_on_device(read_clip(ensure_clip(folder, seed, DATA.clips)), CPU))
    first = run.progress.step
    return [
        float(take_step(run, [draw_batch(pool, first + i, DATA)])["total"]) for i in range(count)
    ]


def test_a_light_checkpoint_goes_on_to_the_same_losses(clips, tmp_path):
    longer = dataclasses.replace(RECIPE, steps=50, warmup_steps=5)
    run = start_run(longer, tmp_path, CPU)
    losses_from(run, 10, clips / "clips")
    paths = save_light(run, tmp_path / "light")
    assert all(path.stat().st_size < 16 * 2**20 for path in paths)
    whole = sum(t.numel() * 4 for t in run.model.state_dict().values())
    assert sum(path.stat().st_size for path in paths) < 2.3 * whole  # two networks, two moments
    went_on = losses_from(run, 6, clips / "clips")
    other = start_run(longer, tmp_path, CPU)
    assert other.progress.step == 10
    np.testing.assert_allclose(losses_from(other, 6, clips / "clips"), went_on, rtol=0.01)
    fresh = start_run(longer, tmp_path / "nothing", CPU)
    fresh.progress.step = 10
    assert not np.allclose(losses_from(fresh, 6, clips / "clips"), went_on, rtol=0.01)


def test_a_light_checkpoint_of_which_a_part_is_missing_is_refused(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("driv3r.training.checkpoints.PART_BYTES", 20_000)
    run = start_run(RECIPE, tmp_path, CPU)
    losses_from(run, 1, clips / "clips")
    paths = save_light(run, tmp_path / "light")
    assert len(paths) > 2
    paths[1].unlink()
    with pytest.raises(CheckpointError, match="parts"):
        load_light(run, tmp_path / "light")


def test_workers_render_ahead_and_their_failures_are_counted(tmp_path, monkeypatch):
    source = ClipSource(tmp_path, DATA, CPU, workers=1)
    try:
        first, second = source.next(), source.next()
        assert first is not None
        assert second is not None
        assert source.next() is None
    finally:
        source.close()
    one, two = (clip_path(tmp_path, FIRST_TRAIN_SEED + i, DATA.clips) for i in (0, 1))
    torch.testing.assert_close(second.depth_m, put_on_device(read_clip(two), CPU).depth_m)
    one.write_bytes(b"no clip")
    source = ClipSource(tmp_path, dataclasses.replace(DATA, keep_clips=False), CPU, workers=1)
    try:
        assert source.next() is not None
        assert source.failed == 1
        assert source.taken == [FIRST_TRAIN_SEED + 1]
    finally:
        source.close()
    assert not two.exists()


COMPILED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from test_trainer import CPU, RECIPE, losses_from
from driv3r.training.compiling import compile_parts
from driv3r.training.trainer import start_run
real = torch.compile
torch.compile = lambda f, *a, **k: real(f, *a, **k | {"backend": "eager"})
runs = [start_run(RECIPE, Path(sys.argv[1]) / "none", CPU) for _ in range(2)]
compile_parts(runs[1].model)
torch._dynamo.config.suppress_errors = False
for run in runs:
    print(*losses_from(run, 2, Path(sys.argv[1]) / "clips"))
"""


def test_compiled_parts_answer_as_the_others_do(clips, tmp_path):
    """Traced by torch.compile whole; its eager backend spares the test code generation.

    In a process of its own: it can not be traced through the checks of shapes.
    """
    script = tmp_path / "compiled.py"
    script.write_text(COMPILED)
    command = [sys.executable, str(script), str(clips), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain, compiled = (line.split() for line in done.stdout.splitlines())
    np.testing.assert_allclose(np.float64(plain), np.float64(compiled), rtol=1e-5)
