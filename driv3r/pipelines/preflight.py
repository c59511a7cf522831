"""Checks before a run starts."""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch

from driv3r import __version__
from driv3r.config import build_config
from driv3r.datasets import Reader, choose_reader
from driv3r.errors import ConfigError, DatasetError, StoreError
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.inference.registry import System, describe_scale, resolve_model
from driv3r.pipelines.job import Job
from driv3r.settings import (
    Provenance,
    Settings,
    hash_file,
    hash_sources,
    identity_of,
    show_path,
)
from driv3r.types import Scene

BYTES_A_PIXEL = 1.5  # of a view in a store; the demo's logs take 1.8


def resolve(settings: Settings, here: bool = True) -> Settings:
    """Settings with every "own", "auto" and default decided; ConfigError names what can not be.

    Where the work is not done `here` but on a cluster, the device is looked for there.
    """
    settings = build_config(vars(settings), Settings, "options")
    choose_reader(settings.dataset)
    choose_protocol(settings.protocol)
    if settings.threads < 1:
        raise ConfigError(f"threads is {settings.threads}; expected 1 at least")
    return resolve_model(settings, here)


def make_provenance(settings: Settings) -> Provenance:
    """How a log of these (resolved) settings comes to be, on this machine."""
    files = [path for path in (settings.weights, settings.second_weights) if path is not None]
    return Provenance(
        settings=identity_of(settings),
        weights="+".join(hash_file(path) for path in files),
        sources=hash_sources(),
        versions={
            "driv3r": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        device=torch.device(settings.device).type,
        precision=settings.precision,
        machine=describe_machine(settings.device),
    )


def describe_machine(device: str) -> str:
    """Processor, vector instructions and, where one is used, GPU."""
    parts = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(torch.device(device)))
    return ", ".join(parts)


def describe_run(settings: Settings, made: Provenance) -> dict[str, object]:
    """What a report tells of a run: settings as resolved, and where they came to be."""
    shown = {
        name: show_path(v) if isinstance(v, Path) else v for name, v in asdict(settings).items()
    }
    return shown | {
        "scale": describe_scale(settings),
        "machine": made.machine,
        "weights sha256": made.weights,
        "versions": made.versions,
    }


def estimate_bytes(scene: Scene, size_hw: tuple[int, int], frames: int) -> float:
    """What stores of so many frames of a rig like the scene's surely take."""
    return frames * len(scene.rig.cameras) * size_hw[0] * size_hw[1] * BYTES_A_PIXEL


def find_folder(out: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(folder for folder in (out, *out.parents) if folder.is_dir())


def check_space(out: Path, jobs: Sequence[Job], reader: Reader, system: System) -> None:
    """StoreError where the disk has less room than the logs' stores will surely take.

    All logs are taken to be as long as the first, so that not every log's tables are read here.
    """
    try:
        scene = reader.read(jobs[0].scene_id)
    except DatasetError:  # reported where the log is read
        return
    needed = estimate_bytes(scene, system.size_hw, len(jobs) * len(scene.frames))
    total, _, free = shutil.disk_usage(find_folder(out))
    if total and free < needed:  # what is no disk (/proc) has no size, and is refused later
        raise StoreError(
            f"{out} has {free / 1e9:.2f} GB free; {len(jobs)} logs of {len(scene.frames)} frames "
            f"take at least {needed / 1e9:.2f} GB: free some, or name another --out"
        )
