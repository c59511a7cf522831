"""Compiled parts of the network, for long runs on GPUs."""

import torch

from driv3r.models.driv3r.network import Driv3r


def compile_parts(model: Driv3r) -> None:
    """Compile what costs most and does not depend on how frames are divided between clips."""
    torch._dynamo.config.suppress_errors = True  # a part that can not be compiled runs as it is
    for part in (
        model.stem,
        model.fine.encoder,
        model.semantic.encoder,
        model.costs,
        model.ego_sweep.score_hypotheses,
        model.depth_sweep,
        model.local,
    ):
        part.compile(dynamic=False)
    for module, name in (
        (model.matcher, "encode"),
        (model.sweep_features, "encode"),
        (model.dense, "coarse_depth"),
        (model.dense, "refine_depth"),
    ):
        setattr(module, name, torch.compile(getattr(module, name), dynamic=False))
