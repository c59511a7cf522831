"""DUSt3R's loss against its closed form."""

import pytest
import torch

from driv3r.models.driv3r.losses import CONFIDENCE_ALPHA, compute_point_loss


def clouds(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 4, 5, 3, generator=torch.Generator().manual_seed(seed)) + 0.5


def test_a_cloud_of_another_unit_is_as_good():
    truth, ones = clouds(), torch.ones(2, 3, 4, 5)
    scale = torch.tensor([7.0, 0.1])[:, None, None, None, None]
    loss = compute_point_loss(scale * truth, ones, truth, ones.bool())
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_the_best_confidence_is_alpha_over_the_error():
    """The derivative of c |e| - alpha log c is 0 there."""
    truth, ours = clouds(), clouds(1)
    valid = torch.ones(2, 3, 4, 5, dtype=torch.bool)
    lengths = [x.norm(dim=-1).mean((1, 2, 3))[:, None, None, None, None] for x in (truth, ours)]
    error = (ours / lengths[1] - truth / lengths[0]).norm(dim=-1)
    best = (CONFIDENCE_ALPHA / error).requires_grad_()
    compute_point_loss(ours, best, truth, valid).backward()
    assert best.grad is not None
    assert best.grad.abs().max().item() < 1e-6


def test_what_is_not_known_does_not_count():
    truth, valid = clouds(), torch.rand(2, 3, 4, 5) > 0.4
    ones = torch.ones(2, 3, 4, 5)
    wild = torch.where(valid[..., None], clouds(1), 1e4)
    a, b = (compute_point_loss(x, ones, truth, valid) for x in (wild, clouds(1)))
    assert a.item() == pytest.approx(b.item(), rel=1e-5)
    nothing = compute_point_loss(wild, ones, truth, torch.zeros_like(valid))
    assert nothing.item() == 0
