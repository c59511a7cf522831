"""What `import driv3r` gives: the same answers as the command line, from one's own arrays."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from run_settings import digest_arrays

import driv3r
from driv3r.errors import CheckpointError, ConfigError, StoreError
from driv3r.pipelines.worker import limited_threads, open_reader
from driv3r.settings import Settings


@pytest.fixture(scope="module")
def drive(tiny_world):
    """A log as a user has it: rig, and (time, full-size images) by frame."""
    scene = open_reader(Settings("nuscenes", tiny_world)).read("scene-0003")
    frames = [
        (frame.time_us, [None if view is None else view.image for view in frame.views])
        for frame in scene.frames
    ]
    return scene.rig, frames


def test_importing_costs_nothing_heavy():
    script = "import sys, driv3r; dir(driv3r); print([m for m in ('torch', 'ray', 'zarr', 'numba') "
    script += "if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
    with pytest.raises(AttributeError, match="driv3r has no 'proces'"):
        driv3r.proces  # noqa: B018 - it is the access that is tested


def test_every_name_is_there_and_explains_itself():
    for name in driv3r.__all__:
        value = getattr(driv3r, name)
        assert name == "__version__" or inspect.getdoc(value), name


def test_process_is_the_command(finished_copy, tiny_world):
    """The finished run of the command line is a finished run here, to the last setting."""
    before = {path.name: digest_arrays(path) for path in finished_copy.glob("*.zarr")}
    heard = []
    run = driv3r.process(
        "nuscenes", tiny_world, out=finished_copy, on_progress=lambda *event: heard.append(event)
    )
    assert [log.state for log in run.logs] == ["done", "done"]
    assert heard == []  # nothing was to be done
    assert {path.name: digest_arrays(path) for path in finished_copy.glob("*.zarr")} == before
    with pytest.raises(ConfigError, match="unknown key 'modle'"):
        driv3r.process("nuscenes", tiny_world, modle="driv3r-s")
    with pytest.raises(StoreError, match="no readable log"):
        driv3r.open_log(tiny_world)


def test_a_stream_of_ones_own_images_is_what_process_stores(drive, finished):
    rig, frames = drive
    log = driv3r.open_log(finished[1] / "scene-0003.zarr")
    model = driv3r.load_model("driv3r-s")
    with limited_threads(1):
        predictions = list(model.stream(rig, frames))
    for i, prediction in enumerate(predictions):
        stored = log.prediction(i)
        np.testing.assert_allclose(prediction.depth_m, stored.depth_m, rtol=2e-4)
        for own, camera in zip(prediction.cameras, log.rig.cameras, strict=True):
            np.testing.assert_array_equal(own.K, camera.K)
        if i:
            np.testing.assert_allclose(prediction.prev_T_curr, stored.prev_T_curr, atol=1e-6)


def test_a_single_frame_of_numpy_or_torch_gives_the_same(drive):
    rig, frames = drive
    model = driv3r.load_model(refine="none")
    images = frames[0][1]
    plain = model.infer(images, rig)
    assert plain.depth_m.shape == (6, *model.size_hw)
    tensors = [torch.from_numpy(image) for image in images]
    channels_first = [t.movedim(-1, 0) for t in tensors]
    unit = [t.float() / 255 for t in channels_first]
    for same in (tensors, channels_first, unit):
        np.testing.assert_array_equal(model.infer(same, rig).depth_m, plain.depth_m)
    gone = model.infer([None, *images[1:]], rig)
    assert np.isnan(gone.depth_m[0]).all()
    assert np.isfinite(gone.depth_m[1:]).all()


def test_what_does_not_fit_is_told(drive, tmp_path):
    rig, frames = drive
    model, images = driv3r.load_model(refine="none"), frames[0][1]
    for wrong, words in (
        (images[:5], "5 images for a rig of 6"),
        ([images[0][:, :50], *images[1:]], r"CAM_FRONT has an image of uint8 \(64, 50, 3\)"),
        ([images[0].astype(np.float32), *images[1:]], "float32"),
    ):
        with pytest.raises(ConfigError, match=words):
            model.infer(wrong, rig)
    with pytest.raises(ConfigError, match="sort them"):
        list(model.stream(rig, [(5, images), (5, images)]))
    with pytest.raises(ConfigError, match="needs --weights"):
        driv3r.load_model("vggt")
    with pytest.raises(ConfigError, match="no model 'vgt'"):
        driv3r.load_model("vgt")
    with pytest.raises(ConfigError, match="unknown key 'devise'"):
        driv3r.load_model(devise="cpu")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError):
        driv3r.load_model(weights=torn)


def test_only_the_logs_that_are_asked_for(tiny_world, tmp_path, monkeypatch):
    from driv3r.pipelines.process import list_logs

    settings = Settings("nuscenes", tiny_world)
    assert list_logs(settings, None, None)[1] == ("scene-0003", "scene-0012")
    assert list_logs(settings, None, 1)[1] == ("scene-0003",)
    assert list_logs(settings, ["scene-0012"], None)[1] == ("scene-0012",)
    with pytest.raises(ConfigError, match="has no log scene-9999; it has 2: scene-0003"):
        list_logs(settings, ["scene-9999"], None)
