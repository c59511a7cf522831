"""The system that a run uses, loaded once: our network or a published one."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from driv3r.errors import ConfigError
from driv3r.network.checkpoints import SHIPPED, load_weights
from driv3r.network.models import choose_model
from driv3r.network.mvdust3r import MvDust3r
from driv3r.network.official import load_official
from driv3r.network.pairs import PairNet
from driv3r.network.recurrent import MemoryNet
from driv3r.network.slam3r import ImagesToPoints
from driv3r.network.stream import Streamer, choose_device
from driv3r.network.surround import Driv3r
from driv3r.network.vggt import Vggt
from driv3r.pipelines.jobs import Settings, hash_file
from driv3r.pipelines.lookers import MonoPoints, PairLooker, SlamLooker, StarLooker
from driv3r.pipelines.seeds import Looker, SeedStreamer
from driv3r.pipelines.sequences import MemoryLooker
from driv3r.pipelines.vggt_looker import VggtLooker
from driv3r.types import Rig

MANY = 4  # references of MV-DUSt3R+, of which the first one's answer is taken
OURS = "learned from metric depth; ray and ground channels carry the rig's height"


@dataclass(frozen=True, eq=False)
class System:
    """A loaded network and what a log's header tells of it."""

    network: nn.Module
    size_hw: tuple[int, int]
    weights_hash: str
    scale_source: str
    sigma_scale: float = 1.0

    def stream(self, rig: Rig, settings: Settings) -> Streamer | SeedStreamer:
        """A fresh run of it over a log with this rig (of `size_hw`)."""
        if isinstance(self.network, Driv3r):
            device, precision = settings.device, settings.precision
            return Streamer(self.network, rig, device, precision, self.sigma_scale)
        device = choose_device(settings.device)
        return SeedStreamer(make_looker(self.network, rig, settings), rig, device)


def default_weights(model: str) -> Path:
    """The shipped weights; ConfigError where a system's own must be fetched by the user."""
    entry = choose_model(model)
    if entry.network is Driv3r:
        return SHIPPED
    raise ConfigError(f"--model {model} needs --weights FILE ({entry.checkpoint})")


def tell_scale(model: str) -> str:
    """Where a system's metres come from, in words for the report and the store."""
    return OURS if choose_model(model).network is Driv3r else SeedStreamer.scale_source


def load_system(model: str, weights: Path) -> System:
    """The network of a model's name with weights; CheckpointError when they do not fit."""
    entry = choose_model(model)
    if entry.network is Driv3r:
        network, card = load_weights(weights)
        factor = float(card.get("sigma_scale", 1.0))
        size_hw = network.config.size_hw
        return System(network, size_hw, hash_file(weights), tell_scale(model), factor)
    network = load_official(entry, weights)
    return System(network, entry.size_hw, hash_file(weights), tell_scale(model))


def make_looker(network: nn.Module, rig: Rig, settings: Settings) -> Looker:
    """How this network's family looks at surround frames."""
    device = choose_device(settings.device)
    if isinstance(network, PairNet):
        mono = None
        if network.prior is not None:
            ours, _ = load_weights(SHIPPED)
            small = MonoPoints.shrink_rig(rig, ours.config.size_hw)
            streamer = Streamer(ours, small, settings.device, settings.precision)
            mono = MonoPoints(streamer, rig)
        return PairLooker(network, rig, device, mono)
    if isinstance(network, ImagesToPoints):
        return SlamLooker(network, rig, device)
    if isinstance(network, MvDust3r):
        return StarLooker(network, rig, device, MANY if network.config.across else 1)
    if isinstance(network, MemoryNet):
        return MemoryLooker(network, rig, device)
    if isinstance(network, Vggt):
        return VggtLooker(network, rig, device)
    raise ConfigError(
        f"{type(network).__name__} answers only beside another network; choose another --model"
    )
