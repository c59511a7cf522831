"""What a run would take, without running it."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from driv3r import __version__
from driv3r.datasets.remote import is_at_hand
from driv3r.inference.model import Model
from driv3r.inference.registry import load_system
from driv3r.pipelines.preflight import describe_machine, estimate_bytes, find_folder, resolve
from driv3r.pipelines.process import list_logs
from driv3r.pipelines.worker import limited_threads
from driv3r.settings import Settings
from driv3r.store.files import is_complete
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


def estimate_run(settings: Settings, out: Path) -> dict[str, Any]:
    """Logs, frames, disk and time of a run; the first log's first frames are tried for the time.

    Raises what `process` would raise before it begins.
    """
    settings = resolve(settings)
    reader, names = list_logs(settings, None, None)
    done = [name for name in names if is_complete(out / f"{name}.zarr")]
    todo = [name for name in names if name not in done]
    known = [name for name in todo if is_at_hand(reader, name)] or todo[:1]
    scenes = [reader.read(name) for name in known]
    frames = sum(len(scene.frames) for scene in scenes)
    frames = round(frames * len(todo) / max(len(known), 1))  # the others are as long
    place = find_folder(out.resolve())
    facts = {
        "logs": f"{len(names)}, of which {len(done)} are finished in {out}",
        "frames to do": frames,
        "device": f"{settings.device}, {settings.precision}",
    }
    if not scenes:
        return facts
    size_hw, seconds = time_frames(settings, scenes[0])
    needed = estimate_bytes(scenes[0], size_hw, frames)
    free = shutil.disk_usage(place).free
    return facts | {
        "disk": f"about {needed / 1e9:.2f} GB, {free / 1e9:.1f} GB free in {place}",
        "time": f"{seconds:.2f} s a frame and worker here, {seconds * frames / 3600:.2f} h in all, "
        "fusion and scoring not counted",
    }


def time_frames(settings: Settings, scene: Scene) -> tuple[tuple[int, int], float]:
    """The network's image size, and the seconds that predicting a log's frame takes."""
    model = Model(settings, load_system(settings))
    frames = (
        (frame.time_us, [None if view is None else view.image for view in frame.views])
        for frame in scene.frames[:TRIED_FRAMES]
    )
    since = took_s = time.monotonic()
    with limited_threads(settings.threads):
        for _ in model.stream(scene.rig, frames):
            now = time.monotonic()
            took_s, since = now - since, now
    return model.size_hw, took_s
