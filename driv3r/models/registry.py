"""The systems that run here, each one entry: a configuration of shared parts and a key map."""

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


@dataclass(frozen=True)
class Entry:
    """One system: how it is built, where its official weights are, and what they may be used for.

    `size_hw` are the image sizes that the weights were trained at; `scale` says whether answers are
    in metres or known up to a similarity. `aligners` are the ways in which its answers can be put
    together, its authors' first. `partner` is a second network that may run beside it. A third
    party's entry tells by `adapt` how its network sees surround frames: a function of network, rig
    and device that gives a driv3r.inference.published.ModelAdapter.
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
    partner: str | None = None
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
OURS = (
    "ours",
    "surround images with calibration, one frame at a time",
    "metric depth with sigma, ego motion, motion probability",
)
UNTRAINED = "none yet: `driv3r train` with the recipe of this name makes it on GPUs"
NAVER = "CC BY-NC-SA 4.0 (Naver)"
HF = "https://huggingface.co/"
SLAM3R_PAPER = (
    "Liu et al., SLAM3R: Real-Time Dense Scene Reconstruction from Monocular RGB Videos, CVPR 2025"
)
MVDUST3R_PAPER = (
    "Tang et al., MV-DUSt3R+: Single-Stage Scene Reconstruction from Sparse Views In 2 Seconds, "
    "CVPR 2025"
)
MVDUST3R_CODE = "not stated where it was looked for; made from DUSt3R's, " + NAVER

MODELS: dict[str, Entry] = {
    "driv3r-s": Entry(
        Driv3r,
        Driv3rConfig((256, 448)),
        KeyMap(()),
        *OURS,
        (256, 448),
        "metric",
        "shipped with the package",
        "Apache-2.0",
        "Apache-2.0",
    ),
    "driv3r-b": Entry(
        Driv3r,
        Driv3rConfig((256, 448), width=768, heads=12, stages=4, memory=8, channels=(64, 128, 192)),
        KeyMap(()),
        *OURS,
        (256, 448),
        "metric",
        UNTRAINED,
        "Apache-2.0",
        "-",
    ),
    "driv3r-l": Entry(
        Driv3r,
        Driv3rConfig((256, 448), width=1024, heads=16, stages=8, memory=8, channels=(64, 128, 256)),
        KeyMap(()),
        *OURS,
        (256, 448),
        "metric",
        UNTRAINED,
        "Apache-2.0",
        "-",
    ),
    "dust3r": Entry(
        PairNet,
        PairConfig(),
        DUST3R,
        "Wang et al., DUSt3R: Geometric 3D Vision Made Easy, CVPR 2024",
        "two images",
        "both pointmaps in the first camera's frame, confidence",
        (384, 512),
        "similarity",
        HF + "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
        NAVER,
        NAVER,
        PAIRS,
    ),
    "dust3r-224": Entry(
        PairNet,
        PairConfig(dpt=None),
        DUST3R,
        "Wang et al., DUSt3R: Geometric 3D Vision Made Easy, CVPR 2024",
        "two images",
        "both pointmaps in the first camera's frame, confidence",
        (224, 224),
        "similarity",
        HF + "naver/DUSt3R_ViTLarge_BaseDecoder_224_linear",
        NAVER,
        NAVER,
        PAIRS,
    ),
    "monst3r": Entry(
        PairNet,
        PairConfig(),
        DUST3R,
        "Zhang et al., MonST3R: Geometry in the Presence of Motion, ICLR 2025",
        "two images of a moving scene",
        "both pointmaps, each at its own time, in the first camera's frame, confidence",
        (384, 512),
        "similarity",
        HF + "Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
        NAVER,
        NAVER,
        VIDEO,
    ),
    "mast3r": Entry(
        PairNet,
        PairConfig(descriptors=24),
        DUST3R,
        "Leroy et al., Grounding Image Matching in 3D with MASt3R, ECCV 2024",
        "two images",
        "both pointmaps in the first camera's frame, confidence, descriptors",
        (384, 512),
        "metric",
        HF + "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
        NAVER,
        NAVER,
        ("sparse", *PAIRS),
    ),
    "align3r": Entry(
        PairNet,
        PairConfig(point_blocks=4),
        ALIGN3R,
        "Lu et al., Align3R: Aligned Monocular Depth Estimation for Dynamic Videos, CVPR 2025",
        "two images, and a pointmap of each from monocular depth",
        "both pointmaps in the first camera's frame, confidence",
        (288, 512),
        "similarity",
        HF + "cyun9286/Align3R_DepthPro_ViTLarge_BaseDecoder_512_dpt",
        NAVER,
        NAVER,
        VIDEO,
    ),
    "slam3r-i2p": Entry(
        ImagesToPoints,
        Slam3rConfig(),
        SLAM3R_I2P,
        SLAM3R_PAPER,
        "a window of images, one of them the reference",
        "all pointmaps in the reference camera's frame, confidence, correlation scores",
        (224, 224),
        "similarity",
        HF + "siyan824/slam3r_i2p",
        NAVER,
        NAVER,
        ("register", "pnp", "rig"),
        "slam3r-l2w",
    ),
    "slam3r-l2w": Entry(
        LocalToWorld,
        Slam3rConfig(),
        SLAM3R_L2W,
        SLAM3R_PAPER,
        "tokens of slam3r-i2p and pointmaps: scene frames' in the world, others' in their window",
        "all pointmaps in the scene frames' world, confidence",
        (224, 224),
        "similarity",
        HF + "siyan824/slam3r_l2w",
        NAVER,
        NAVER,
    ),
    "mvdust3r": Entry(
        MvDust3r,
        MvDust3rConfig(),
        MVDUST3R,
        MVDUST3R_PAPER,
        "two or more images",
        "all pointmaps in the first camera's frame, confidence, Gaussians",
        (224, 224),
        "similarity",
        HF + "Zhenggang/MV-DUSt3R",
        MVDUST3R_CODE,
        "CC BY-NC 4.0",
        ("pnp",),
    ),
    "mvdust3r-plus": Entry(
        MvDust3r,
        MvDust3rConfig(across=True),
        MVDUST3R,
        MVDUST3R_PAPER,
        "two or more images, the first of them references",
        "all pointmaps in a reference camera's frame, confidence, Gaussians",
        (224, 224),
        "similarity",
        HF + "Zhenggang/MV-DUSt3R",
        MVDUST3R_CODE,
        "CC BY-NC 4.0",
        ("pnp",),
    ),
    "spann3r": Entry(
        MemoryNet,
        MemoryNetConfig(),
        SPANN3R,
        "Wang and Agapito, 3D Reconstruction with Spatial Memory, arXiv 2408.16061",
        "images of one camera, one at a time, or a set without an order",
        "all pointmaps in the first camera's frame, confidence",
        (224, 224),
        "similarity",
        "https://github.com/HengyiWang/spann3r (spann3r.pth)",
        NAVER,
        "not stated apart; made from DUSt3R's, " + NAVER,
        ("pnp", "rig"),
    ),
    "driv3r": Entry(
        MemoryNet,
        MemoryNetConfig(memory=MemoryConfig(frame_tokens=196)),
        SPANN3R,
        "Fei et al., Driv3R: Learning Dense 4D Reconstruction for Autonomous Driving, "
        "arXiv 2412.06777",
        "images of each camera, cut into a left and a right square, one frame at a time",
        "each sequence's pointmaps in its first camera's frame, confidence",
        (224, 400),
        "similarity",
        "https://github.com/Barrybarry-Smith/Driv3R (driv3r.pth)",
        "MIT by its issue 12; made from DUSt3R's, " + NAVER,
        "not stated; made from DUSt3R's, " + NAVER,
        ("rig", "pnp"),
    ),
    "vggt": Entry(
        Vggt,
        VggtConfig(),
        VGGT,
        "Wang et al., VGGT: Visual Geometry Grounded Transformer, CVPR 2025",
        "any number of images",
        "all cameras, depths and pointmaps in the first camera's frame, confidence, tracks",
        (294, 518),
        "similarity",
        HF + "facebook/VGGT-1B",
        "VGGT License (Meta)",
        "CC BY-NC 4.0",
    ),
    "pow3r": Entry(
        PairNet,
        PairConfig(knows=True),
        DUST3R,
        "Jang et al., Pow3R: Empowering Unconstrained 3D Reconstruction with Camera and Scene "
        "Priors, CVPR 2025",
        "two images, and any of their rays, depths and relative pose",
        "both pointmaps in the first camera's frame, confidence",
        (384, 512),
        "similarity",
        "none fits: built from the paper, its weights are to be trained here",
        "Apache-2.0",
        "-",
        PAIRS,
    ),
}


@cache
def list_models() -> dict[str, Entry]:
    """Every model by its name: ours, and those of installed packages (group driv3r.models)."""
    theirs = {each.name: each.load() for each in entry_points(group="driv3r.models")}
    for name, entry in theirs.items():
        if not isinstance(entry, Entry):
            raise ConfigError(
                f"the entry point {name!r} of driv3r.models is a {type(entry).__name__}; expected "
                "a driv3r.models.registry.Entry"
            )
    return {**theirs, **MODELS}


def choose_model(name: str) -> Entry:
    """The entry of a name; ConfigError lists the names where there is none."""
    if name in MODELS:
        return MODELS[name]
    if name not in list_models():
        raise ConfigError(f"no model {name!r}; there are {', '.join(list_models())}")
    return list_models()[name]


def choose_aligner(model: str, name: str) -> Aligner:
    """The aligner of a name, "own" for that of the system's authors; ConfigError for others."""
    possible = choose_model(model).aligners
    if name == "own":
        return possible[0]
    for aligner in possible:
        if aligner == name:
            return aligner
    raise ConfigError(f"--aligner {name}: {model} has own, {', '.join(possible)}")
