"""Triton's kernels against torch's operators; interpreted where there is no GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# Triton reads the variable when it is imported, so that each test has a process of its own.
BODY = """
import torch
from torch.nn import functional as F
torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"

def check(ours, theirs, inputs):
    inputs = [x.to(device).requires_grad_() for x in inputs]
    values = [function(*inputs) for function in (ours, theirs)]
    slope = torch.randn_like(values[1])
    both = [(y, *torch.autograd.grad(y, inputs, slope)) for y in values]
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
"""
NORM = """
from driv3r.kernels.group_norm_gelu_triton import group_norm_gelu
for shape in ((2, 24, 9, 11), (3, 64, 16, 20)):
    check(
        lambda x, w, b: group_norm_gelu(x, w, b, 8, 1e-5),
        lambda x, w, b: F.gelu(F.group_norm(x, 8, w, b, 1e-5)),
        [2 * torch.randn(shape) + 0.7, torch.randn(shape[1]), torch.randn(shape[1])],
    )
"""
DOT = """
from driv3r.kernels.sampled_dot_triton import sampled_dot
places = torch.rand(2, 5, 7, 2) * torch.tensor([13.0, 10.0]) - 2
places[0, 0, 0], places[0, 0, 1] = -1e4, 3e9
places = places.to(device)
def theirs(cells, maps):
    grid = ((places + 0.5) / places.new_tensor([9, 6]) * 2 - 1).clamp(-9, 9)
    read = F.grid_sample(maps.permute(0, 3, 1, 2), grid, align_corners=False)
    return (cells.transpose(1, 2)[..., None] * read).sum(1)
check(
    lambda cells, maps: sampled_dot(cells, maps, places),
    theirs,
    [torch.randn(2, 5, 32), torch.randn(2, 6, 9, 32)],
)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not here (torch for CPUs)")
@pytest.mark.parametrize("kernel", [NORM, DOT], ids=["group norm and GELU", "sampled dot"])
def test_values_and_gradients_are_those_of_torch(kernel):
    import torch

    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", BODY + kernel],
        env=os.environ | interpreted, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
