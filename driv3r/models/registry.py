"""Model cards of all supported systems: network, configuration and key map of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

import torch
from torch import nn

from driv3r.errors import ConfigError
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.models.key_maps.base import ALIGN3R, DUST3R, KeyMap
from driv3r.models.key_maps.multi_view import MVDUST3R, SLAM3R_I2P, SLAM3R_L2W
from driv3r.models.key_maps.spann3r import SPANN3R
from driv3r.models.key_maps.vggt import VGGT
from driv3r.models.published.mvdust3r import MvDust3r, MvDust3rConfig
from driv3r.models.published.pair_networks import PairConfig, PairNet
from driv3r.models.published.slam3r import ImagesToPoints, LocalToWorld, Slam3rConfig
from driv3r.models.published.spann3r import MemoryNet, MemoryNetConfig
from driv3r.models.published.spatial_memory import MemoryConfig
from driv3r.models.published.vggt import Vggt, VggtConfig

Scale = Literal["metric", "similarity"]
Aligner = Literal["network", "pnp", "pairwise", "pairwise-flow", "sparse", "register", "rig"]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One system: its network, its official checkpoint and its licences.

    `size_hw` is the image size of training; `scale` says whether predictions are in metres or known
    up to a similarity. `aligners` are the supported alignment methods, the authors' own first.
    `companion` is an optional second network. A third party's card sets `adapt`, a function of
    network, rig and device that returns a driv3r.inference.published.ModelAdapter.
    """

    network: type[nn.Module]
    config: Any
    key_map: KeyMap
    paper: str
    inputs: str
    outputs: str
    size_hw: tuple[int, int]
    scale: Scale
    checkpoint: str
    code_license: str
    weights_license: str
    aligners: tuple[Aligner, ...] = ("network",)
    companion: str | None = None
    adapt: Callable[..., Any] | None = None

    def build(self) -> nn.Module:
        """The full-size network on the device in force; on `torch.device("meta")` it is free."""
        return self.network(self.config)

    def count_parameters(self) -> int:
        """Parameters of the full-size network."""
        with torch.device("meta"):
            return sum(p.numel() for p in self.build().parameters())


PAIRS: tuple[Aligner, ...] = ("pairwise", "pairwise-flow", "pnp", "rig")
VIDEO: tuple[Aligner, ...] = ("pairwise-flow", "pairwise", "pnp", "rig")
UNTRAINED = "none yet: `driv3r train` with the recipe of this name makes it on GPUs"
NAVER_LICENSE = "CC BY-NC-SA 4.0 (Naver)"
HF = "https://huggingface.co/"
SLAM3R_PAPER = (
    "Liu et al., SLAM3R: Real-Time Dense Scene Reconstruction from Monocular RGB Videos, CVPR 2025"
)
MVDUST3R_PAPER = (
    "Tang et al., MV-DUSt3R+: Single-Stage Scene Reconstruction from Sparse Views In 2 Seconds, "
    "CVPR 2025"
)
MVDUST3R_CODE = "not stated where it was looked for; made from DUSt3R's, " + NAVER_LICENSE


def driv3r_card(config: Driv3rConfig, checkpoint: str = UNTRAINED, weights: str = "-") -> ModelCard:
    """The card of our network at a size; `weights` is the licence of its weights."""
    return ModelCard(
        network=Driv3r,
        config=config,
        key_map=KeyMap(()),
        paper="ours",
        inputs="surround images with calibration, one frame at a time",
        outputs="metric depth with sigma, ego motion, motion probability",
        size_hw=config.size_hw,
        scale="metric",
        checkpoint=checkpoint,
        code_license="Apache-2.0",
        weights_license=weights,
    )


MODELS: dict[str, ModelCard] = {
    "driv3r-s": driv3r_card(
        Driv3rConfig((256, 448)), checkpoint="shipped with the package", weights="Apache-2.0"
    ),
    "driv3r-b": driv3r_card(
        Driv3rConfig((256, 448), width=768, heads=12, stages=4, memory=8, channels=(64, 128, 192))
    ),
    "driv3r-l": driv3r_card(
        Driv3rConfig((256, 448), width=1024, heads=16, stages=8, memory=8, channels=(64, 128, 256))
    ),
    "dust3r": ModelCard(
        network=PairNet,
        config=PairConfig(),
        key_map=DUST3R,
        paper="Wang et al., DUSt3R: Geometric 3D Vision Made Easy, CVPR 2024",
        inputs="two images",
        outputs="both pointmaps in the first camera's frame, confidence",
        size_hw=(384, 512),
        scale="similarity",
        checkpoint=HF + "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=PAIRS,
    ),
    "dust3r-224": ModelCard(
        network=PairNet,
        config=PairConfig(dpt=None),
        key_map=DUST3R,
        paper="Wang et al., DUSt3R: Geometric 3D Vision Made Easy, CVPR 2024",
        inputs="two images",
        outputs="both pointmaps in the first camera's frame, confidence",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint=HF + "naver/DUSt3R_ViTLarge_BaseDecoder_224_linear",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=PAIRS,
    ),
    "monst3r": ModelCard(
        network=PairNet,
        config=PairConfig(),
        key_map=DUST3R,
        paper="Zhang et al., MonST3R: Geometry in the Presence of Motion, ICLR 2025",
        inputs="two images of a moving scene",
        outputs="both pointmaps, each at its own time, in the first camera's frame, confidence",
        size_hw=(384, 512),
        scale="similarity",
        checkpoint=HF + "Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=VIDEO,
    ),
    "mast3r": ModelCard(
        network=PairNet,
        config=PairConfig(descriptors=24),
        key_map=DUST3R,
        paper="Leroy et al., Grounding Image Matching in 3D with MASt3R, ECCV 2024",
        inputs="two images",
        outputs="both pointmaps in the first camera's frame, confidence, descriptors",
        size_hw=(384, 512),
        scale="metric",
        checkpoint=HF + "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=("sparse", *PAIRS),
    ),
    "align3r": ModelCard(
        network=PairNet,
        config=PairConfig(point_blocks=4),
        key_map=ALIGN3R,
        paper="Lu et al., Align3R: Aligned Monocular Depth Estimation for Dynamic Videos, "
        "CVPR 2025",
        inputs="two images, and a pointmap of each from monocular depth",
        outputs="both pointmaps in the first camera's frame, confidence",
        size_hw=(288, 512),
        scale="similarity",
        checkpoint=HF + "cyun9286/Align3R_DepthPro_ViTLarge_BaseDecoder_512_dpt",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=VIDEO,
    ),
    "slam3r-i2p": ModelCard(
        network=ImagesToPoints,
        config=Slam3rConfig(),
        key_map=SLAM3R_I2P,
        paper=SLAM3R_PAPER,
        inputs="a window of images, one of them the reference",
        outputs="all pointmaps in the reference camera's frame, confidence, correlation scores",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint=HF + "siyan824/slam3r_i2p",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
        aligners=("register", "pnp", "rig"),
        companion="slam3r-l2w",
    ),
    "slam3r-l2w": ModelCard(
        network=LocalToWorld,
        config=Slam3rConfig(),
        key_map=SLAM3R_L2W,
        paper=SLAM3R_PAPER,
        inputs="tokens of slam3r-i2p and pointmaps: scene frames' in the world, others' in their "
        "window",
        outputs="all pointmaps in the scene frames' world, confidence",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint=HF + "siyan824/slam3r_l2w",
        code_license=NAVER_LICENSE,
        weights_license=NAVER_LICENSE,
    ),
    "mvdust3r": ModelCard(
        network=MvDust3r,
        config=MvDust3rConfig(),
        key_map=MVDUST3R,
        paper=MVDUST3R_PAPER,
        inputs="two or more images",
        outputs="all pointmaps in the first camera's frame, confidence, Gaussians",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint=HF + "Zhenggang/MV-DUSt3R",
        code_license=MVDUST3R_CODE,
        weights_license="CC BY-NC 4.0",
        aligners=("pnp",),
    ),
    "mvdust3r-plus": ModelCard(
        network=MvDust3r,
        config=MvDust3rConfig(across=True),
        key_map=MVDUST3R,
        paper=MVDUST3R_PAPER,
        inputs="two or more images, the first of them references",
        outputs="all pointmaps in a reference camera's frame, confidence, Gaussians",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint=HF + "Zhenggang/MV-DUSt3R",
        code_license=MVDUST3R_CODE,
        weights_license="CC BY-NC 4.0",
        aligners=("pnp",),
    ),
    "spann3r": ModelCard(
        network=MemoryNet,
        config=MemoryNetConfig(),
        key_map=SPANN3R,
        paper="Wang and Agapito, 3D Reconstruction with Spatial Memory, arXiv 2408.16061",
        inputs="images of one camera, one at a time, or a set without an order",
        outputs="all pointmaps in the first camera's frame, confidence",
        size_hw=(224, 224),
        scale="similarity",
        checkpoint="https://github.com/HengyiWang/spann3r (spann3r.pth)",
        code_license=NAVER_LICENSE,
        weights_license="not stated apart; made from DUSt3R's, " + NAVER_LICENSE,
        aligners=("pnp", "rig"),
    ),
    "driv3r": ModelCard(
        network=MemoryNet,
        config=MemoryNetConfig(memory=MemoryConfig(frame_tokens=196)),
        key_map=SPANN3R,
        paper="Fei et al., Driv3R: Learning Dense 4D Reconstruction for Autonomous Driving, "
        "arXiv 2412.06777",
        inputs="images of each camera, cut into a left and a right square, one frame at a time",
        outputs="each sequence's pointmaps in its first camera's frame, confidence",
        size_hw=(224, 400),
        scale="similarity",
        checkpoint="https://github.com/Barrybarry-Smith/Driv3R (driv3r.pth)",
        code_license="MIT by its issue 12; made from DUSt3R's, " + NAVER_LICENSE,
        weights_license="not stated; made from DUSt3R's, " + NAVER_LICENSE,
        aligners=("rig", "pnp"),
    ),
    "vggt": ModelCard(
        network=Vggt,
        config=VggtConfig(),
        key_map=VGGT,
        paper="Wang et al., VGGT: Visual Geometry Grounded Transformer, CVPR 2025",
        inputs="any number of images",
        outputs="all cameras, depths and pointmaps in the first camera's frame, confidence, tracks",
        size_hw=(294, 518),
        scale="similarity",
        checkpoint=HF + "facebook/VGGT-1B",
        code_license="VGGT License (Meta)",
        weights_license="CC BY-NC 4.0",
    ),
    "pow3r": ModelCard(
        network=PairNet,
        config=PairConfig(use_priors=True),
        key_map=DUST3R,
        paper="Jang et al., Pow3R: Empowering Unconstrained 3D Reconstruction with Camera and "
        "Scene Priors, CVPR 2025",
        inputs="two images, and any of their rays, depths and relative pose",
        outputs="both pointmaps in the first camera's frame, confidence",
        size_hw=(384, 512),
        scale="similarity",
        checkpoint="none fits: built from the paper, its weights are to be trained here",
        code_license="Apache-2.0",
        weights_license="-",
        aligners=PAIRS,
    ),
}


@cache
def list_models() -> dict[str, ModelCard]:
    """Every model card by name: built-in ones and those of the entry point group driv3r.models."""
    theirs = {each.name: each.load() for each in entry_points(group="driv3r.models")}
    for name, card in theirs.items():
        if not isinstance(card, ModelCard):
            raise ConfigError(
                f"the entry point {name!r} of driv3r.models is a {type(card).__name__}; expected "
                "a driv3r.models.registry.ModelCard"
            )
    return {**theirs, **MODELS}


def get_model(name: str) -> ModelCard:
    """The card of a name; ConfigError lists the known names otherwise."""
    if name in MODELS:
        return MODELS[name]
    if name not in list_models():
        raise ConfigError(f"no model {name!r}; there are {', '.join(list_models())}")
    return list_models()[name]


def get_aligner(model: str, name: str) -> Aligner:
    """The aligner of a name, "own" for the authors' own; ConfigError for unsupported ones."""
    possible = get_model(model).aligners
    if name == "own":
        return possible[0]
    for aligner in possible:
        if aligner == name:
            return aligner
    raise ConfigError(f"--aligner {name}: {model} has own, {', '.join(possible)}")
