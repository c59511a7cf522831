"""What a run would take, without running it."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from driv3r import __version__
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.inference.refinement import FrameRefiner
from driv3r.inference.registry import load_system
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.pipelines.preflight import BYTES_A_PIXEL, describe_machine, resolve
from driv3r.pipelines.process import is_complete, list_logs
from driv3r.pipelines.worker import limited_threads
from driv3r.settings import Settings
from driv3r.types import Scene

TRIED_FRAMES = 3  # the first ones warm up


def describe_here() -> dict[str, Any]:
    """Versions and devices of this machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "driv3r": __version__,
        "torch": torch.__version__,
        "machine": f"{describe_machine('cpu')}, {os.cpu_count()} cores",
        "GPUs": ", ".join(gpus) or "none",
    }


def foresee(settings: Settings, out: Path) -> dict[str, Any]:
    """Logs, frames, disk and time of a run; the first log's first frames are tried for the time.

    Raises what `process` would raise before it begins.
    """
    settings = resolve(settings)
    reader, names = list_logs(settings, None, None)
    done = [name for name in names if is_complete(out / f"{name}.zarr")]
    scenes = [reader.read(name) for name in names if name not in done]
    frames = sum(len(scene.frames) for scene in scenes)
    place = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.is_dir())
    facts = {
        "logs": f"{len(names)}, of which {len(done)} are finished in {out}",
        "frames to do": frames,
        "device": f"{settings.device}, {settings.precision}",
    }
    if not scenes:
        return facts
    size_hw, seconds = try_frames(settings, scenes[0])
    needed = frames * len(scenes[0].rig.cameras) * size_hw[0] * size_hw[1] * BYTES_A_PIXEL
    free = shutil.disk_usage(place).free
    return facts | {
        "disk": f"about {needed / 1e9:.2f} GB, {free / 1e9:.1f} GB free in {place}",
        "time": f"{seconds:.2f} s a frame and worker here, {seconds * frames / 3600:.2f} h in all, "
        "fusion and scoring not counted",
    }


def try_frames(settings: Settings, scene: Scene) -> tuple[tuple[int, int], float]:
    """The network's image size, and the seconds that predicting a log's frame takes."""
    system = load_system(settings)
    work = prepare_rig(scene.rig, system.size_hw)
    predictor = system.stream(work.rig, settings)
    refiner = FrameRefiner(work, settings.refine, settings.ego_poses)
    took_s = 0.0
    with limited_threads(settings.threads):
        for index in range(min(TRIED_FRAMES, len(scene.frames))):
            since = time.monotonic()
            frame, gap_s = scene.frames[index], 0.5 * (index > 0)
            prediction = predictor.step(StreamFrame(prepare_images(frame, work), gap_s))
            refiner.look(frame, prediction, gap_s, None)
            took_s = time.monotonic() - since
    return system.size_hw, took_s
