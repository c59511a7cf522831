"""The system that a run uses, loaded once: our network or a published one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from driv3r.errors import ConfigError
from driv3r.inference.global_alignment import ALIGN, GlobalAlignmentAdapter
from driv3r.inference.metric_scale import RigScaleEstimator, ScaleEstimator
from driv3r.inference.optical_flow import Flow, choose_flow
from driv3r.inference.published import FlowMotionSegmenter, ModelAdapter, PublishedModelStreamer
from driv3r.inference.slam3r import Slam3rAdapter
from driv3r.inference.spann3r import Spann3rAdapter
from driv3r.inference.vggt import VggtAdapter
from driv3r.inference.window_adapters import (
    MonocularPointmaps,
    MvDust3rAdapter,
    PairwiseAdapter,
    Slam3rWindowAdapter,
)
from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.streaming import Streamer, choose_device, fast_bf16
from driv3r.models.official_checkpoints import load_official
from driv3r.models.published.mvdust3r import MvDust3r
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.published.slam3r import ImagesToPoints, LocalToWorld
from driv3r.models.published.spann3r import MemoryNet
from driv3r.models.published.vggt import Vggt
from driv3r.models.registry import Aligner, ModelCard, get_aligner, get_model
from driv3r.settings import Settings
from driv3r.types import Rig

MVDUST3R_REFERENCES = 4  # references of MV-DUSt3R+, of which the first one's answer is taken
SCALE_SOURCE = "learned from metric depth; ray and ground channels carry the rig's height"
SCALE_SOURCE_UNCALIBRATED = "learned from metric depth; neither rays nor the rig's height were told"


@dataclass(frozen=True, eq=False)
class System:
    """A loaded network with its scale source and aligner; `companion` is a second network."""

    network: nn.Module
    size_hw: tuple[int, int]
    scale_source: str
    aligner: Aligner
    sigma_scale: float = 1.0
    companion: nn.Module | None = None

    def stream(self, rig: Rig, settings: Settings) -> Streamer | PublishedModelStreamer:
        """A fresh run of it over a log with this rig (of `size_hw`)."""
        if isinstance(self.network, Driv3r):
            device, precision = settings.device, settings.precision
            calibrated = settings.calibration == "given"
            return Streamer(self.network, rig, device, precision, self.sigma_scale, calibrated)
        device = choose_device(settings.device)
        flow = choose_flow(settings.flow, device)
        adapter = make_adapter(self, rig, settings, flow)
        scale_estimator = choose_scale_estimator(self.aligner)(rig)
        return PublishedModelStreamer(
            adapter, rig, device, scale_estimator, FlowMotionSegmenter(rig, flow)
        )


def default_weights(model: str) -> Path:
    """The shipped weights; ConfigError where a system's own must be fetched by the user."""
    model_card = get_model(model)
    if model == SHIPPED.stem:
        return SHIPPED
    raise ConfigError(f"--model {model} needs --weights FILE ({model_card.checkpoint})")


def choose_scale_estimator(aligner: Aligner) -> type[ScaleEstimator]:
    """The scale estimator of an aligner."""
    return RigScaleEstimator if aligner == "rig" else ScaleEstimator


def describe_scale(settings: Settings) -> str:
    """The source of metric scale, for report and store; ConfigError for a wrong aligner.

    And for a hidden calibration where the scale depends on it.
    """
    aligner = get_aligner(settings.model, settings.aligner)
    if get_model(settings.model).network is Driv3r:
        return SCALE_SOURCE if settings.calibration == "given" else SCALE_SOURCE_UNCALIBRATED
    if settings.calibration == "hidden":
        raise ConfigError(
            f"--calibration hidden: {settings.model} takes its metres from the rig; only our own "
            "networks answer without, choose --model driv3r-s"
        )
    return choose_scale_estimator(aligner).source


def resolve_refinement(settings: Settings) -> bool:
    """Whether track-based refinement runs; ConfigError where it is impossible."""
    if settings.refine == "own":
        ours = get_model(settings.model).network is Driv3r
        return ours and settings.calibration == "given"
    if settings.refine == "tracks" and settings.calibration == "hidden":
        raise ConfigError(
            "--refine tracks needs the calibration that --calibration hidden withholds; leave "
            "one of them out"
        )
    return settings.refine == "tracks"


def resolve_companion_model(settings: Settings) -> ModelCard | None:
    """The companion network's card where its weights are given; ConfigError where none fits."""
    if settings.second_weights is None:
        return None
    companion = get_model(settings.model).companion
    if companion is None:
        raise ConfigError(f"--second-weights: {settings.model} runs alone; leave it out")
    return get_model(companion)


def load_system(settings: Settings) -> System:
    """The network of a run with its weights; CheckpointError when they do not fit."""
    model_card, weights = get_model(settings.model), settings.weights
    weights = default_weights(settings.model) if weights is None else weights
    aligner, source = get_aligner(settings.model, settings.aligner), describe_scale(settings)
    if model_card.network is Driv3r:
        network, card = load_weights(weights)
        factor = float(card.get("sigma_scale", 1.0))
        return System(network, network.config.size_hw, source, aligner, factor)
    network, companion = load_official(model_card, weights), None
    companion_card = resolve_companion_model(settings)
    if companion_card is not None and settings.second_weights is not None:
        companion = load_official(companion_card, settings.second_weights)
    return System(network, model_card.size_hw, source, aligner, companion=companion)


def make_adapter(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    """The adapter of a system's family."""
    adapt = get_model(settings.model).adapt
    if adapt is not None:
        return adapt(system.network, rig, choose_device(settings.device))
    family = ADAPTERS.get(type(system.network))
    if family is None:
        raise ConfigError(
            f"{type(system.network).__name__} answers only beside another network; choose another "
            "--model"
        )
    return family(system, rig, settings, flow)


def _adapt_pairs(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    network, mono, device = system.network, None, choose_device(settings.device)
    assert isinstance(network, PairNet)
    if network.prior is not None:
        ours, _ = load_weights(SHIPPED)
        small = MonocularPointmaps.shrink_rig(rig, ours.config.size_hw)
        streamer = Streamer(ours, small, settings.device, settings.precision)
        mono = MonocularPointmaps(streamer, rig)
    if system.aligner in ALIGN:
        return GlobalAlignmentAdapter(network, rig, device, mono, ALIGN[system.aligner], flow)
    return PairwiseAdapter(network, rig, device, mono)


def _adapt_slam3r(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    network, device = system.network, choose_device(settings.device)
    assert isinstance(network, ImagesToPoints)
    if system.aligner != "register":
        return Slam3rWindowAdapter(network, rig, device)
    world = system.companion if isinstance(system.companion, LocalToWorld) else None
    return Slam3rAdapter(network, world, rig, device)


def _adapt_mvdust3r(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    network = system.network
    assert isinstance(network, MvDust3r)
    references = MVDUST3R_REFERENCES if network.config.across else 1
    return MvDust3rAdapter(network, rig, choose_device(settings.device), references)


def _adapt_spann3r(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    assert isinstance(system.network, MemoryNet)
    return Spann3rAdapter(system.network, rig, choose_device(settings.device))


def _adapt_vggt(system: System, rig: Rig, settings: Settings, flow: Flow) -> ModelAdapter:
    assert isinstance(system.network, Vggt)
    return VggtAdapter(system.network, rig, choose_device(settings.device))


ADAPTERS: dict[type[nn.Module], Callable[[System, Rig, Settings, Flow], ModelAdapter]] = {
    PairNet: _adapt_pairs,
    ImagesToPoints: _adapt_slam3r,
    MvDust3r: _adapt_mvdust3r,
    MemoryNet: _adapt_spann3r,
    Vggt: _adapt_vggt,
}


def resolve_model(settings: Settings, here: bool = True) -> Settings:
    """Settings whose "own", "auto" and default are decided, as far as the model goes.

    ConfigError names impossible combinations. On a cluster (not `here`) the device is not checked.
    """
    if settings.calibration == "hidden" and settings.ego_poses == "odometry":
        raise ConfigError(
            "--ego-poses odometry needs the calibration that --calibration hidden withholds; "
            "leave one of them out"
        )
    resolve_companion_model(settings)
    describe_scale(settings)
    weights = settings.weights or default_weights(settings.model)
    for path in (weights, settings.second_weights):
        if path is not None and not path.is_file():
            raise ConfigError(f"no weights at {path}; give a file that exists")
    return replace(
        settings,
        weights=weights,
        aligner=get_aligner(settings.model, settings.aligner),
        refine="tracks" if resolve_refinement(settings) else "none",
        precision=_choose_precision(settings, here),
    )


def _choose_precision(settings: Settings, here: bool) -> Literal["bf16", "fp32"]:
    """What "auto" is on the device, so that all workers do the same and the store says it."""
    device = choose_device(settings.device) if here else torch.device(settings.device)
    if get_model(settings.model).network is not Driv3r:
        if settings.precision == "bf16":
            raise ConfigError(f"--precision bf16: {settings.model} runs in fp32; leave it out")
        return "fp32"
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if (device.type == "cuda" and not here) or fast_bf16(device) else "fp32"
