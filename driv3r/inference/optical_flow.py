"""Dense optical flow by name, in place of the published systems' RAFT."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32

from driv3r.alignment.motion_segmentation import estimate_flow
from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.matcher_flow import MatcherFlow
from driv3r.types import FlowName

Flow = Callable[..., Float32[np.ndarray, "h w 2"]]


def choose_flow(name: FlowName, device: torch.device) -> Flow:
    """Flow in pixels from a first image to a second, by OpenCV's dense inverse search or ours."""
    if name == "dis":
        return partial(estimate_flow, "dis")
    model, _ = load_weights(SHIPPED)
    return MatcherFlow(model, device)
