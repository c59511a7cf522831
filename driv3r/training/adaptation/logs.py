"""`driv3r adapt`: logs of a dataset to adapted weights."""

from pathlib import Path

import torch

from driv3r.datasets import Reader
from driv3r.errors import ConfigError
from driv3r.models.checkpoints import SHIPPED, load_weights, save_network
from driv3r.models.driv3r.streaming import choose_device
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, ensure_clip, read_clip
from driv3r.training.adaptation.adapt import (
    AdaptConfig,
    Adapted,
    adapt,
    split_moments,
    weights_card,
)
from driv3r.training.clip_pool import RawClip, put_on_device
from driv3r.training.config import FIRST_VAL_SEED
from driv3r.training.log_clips import LogClipConfig, read_log_clips
from driv3r.training.trainer import OnLog

FIRST_REPLAY = FIRST_TRAIN_SEED + 900_000  # clips that training has not drawn
MOST_REPLAY = FIRST_VAL_SEED - FIRST_REPLAY


def adapt_to_logs(
    reader: Reader,
    split: str,
    out: Path,
    config: AdaptConfig,
    weights: Path | None = None,
    held_out_share: float = 0.2,
    replay: int = 6,
    device: str = "cpu",
    on_log: OnLog = lambda row: None,
) -> Adapted:
    """Adapt to all logs of a split, and write the weights to `out`.

    Raises ConfigError before any training where a log has fewer than four moments, no poses, or no
    LiDAR that is to be learned from, `out` is no .safetensors file, or `replay` would run into the
    seeds of held-out clips.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; expected a file that ends in .safetensors")
    if not 0 <= replay <= MOST_REPLAY:
        raise ConfigError(
            f"--replay is {replay}; expected 0 to {MOST_REPLAY}: clips after them are validated on"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"can not write to {out} ({error}); name another --out") from error
    on_device, parent = choose_device(device), weights or SHIPPED
    network, card = load_weights(parent)
    size_hw = network.config.size_hw
    learned, held_out, names = read_logs(reader, split, size_hw, held_out_share, on_device, config)
    generated = render_replay(out.parent / "clips", replay, size_hw, config.frames, on_device)
    adapted = adapt(network.to(on_device), learned, held_out, generated, config, on_log)
    kept = {"sigma_scale": card["sigma_scale"]} if "sigma_scale" in card else {}
    replayed = range(FIRST_REPLAY, FIRST_REPLAY + replay)
    told = weights_card(config, adapted, parent, names, replayed)
    save_network(out, adapted.network, kept | told)
    return adapted


def read_logs(
    reader: Reader,
    split: str,
    size_hw: tuple[int, int],
    held_out_share: float,
    device: torch.device,
    config: AdaptConfig,
) -> tuple[list[RawClip], list[RawClip], list[str]]:
    """Clips to learn from, clips of each log's last moments, and the logs' names."""
    learned, held_out, names = [], [], []
    for name in reader.scenes(split):
        scene = reader.read(name)
        parts = split_moments(len(scene.frames), held_out_share)
        for clips, moments in zip((learned, held_out), parts, strict=True):
            frames, lidar = max(config.frames, 2), config.supervision == "lidar"
            cut = LogClipConfig(size_hw, frames, frames, moments=moments, lidar=lidar)
            clips += read_log_clips(scene, cut, device)
        names.append(name)
    return learned, held_out, names


def render_replay(
    folder: Path,
    count: int,
    size_hw: tuple[int, int],
    frames: int,
    device: torch.device,
    first: int = FIRST_REPLAY,
) -> list[RawClip]:
    """Generated clips of `count` seeds from `first` on; those by default no training has drawn."""
    recipe = ClipConfig(size_hw, frames=max(frames, 2), plain_rig_share=0.2)
    paths = [ensure_clip(folder, first + i, recipe) for i in range(count)]
    return [put_on_device(read_clip(path), device) for path in paths]
