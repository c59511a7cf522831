"""Attention over time a frame at a time, against one of all frames under a whole mask."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from driv3r.models.layers.aggregators import TimeBlock

WIDTH, HEADS, TOKENS = 16, 2, 32


def make_block(memory: int) -> TimeBlock:
    torch.manual_seed(memory)
    block = TimeBlock(WIDTH, HEADS, memory)
    torch.nn.init.normal_(block.age_bias)
    return block


def at_once(block: TimeBlock, x: Tensor, past: Tensor | None) -> Tensor:
    """All frames by one mask of heads x (t n) x (s n), as it was reckoned before."""
    b, t, v, n, c = x.shape
    seen = x if past is None else torch.cat([past, x], dim=1)
    s = seen.shape[1]
    queries = x.transpose(1, 2).reshape(b * v, t * n, c)
    keys = seen.transpose(1, 2).reshape(b * v, -1, c)
    age = torch.arange(s - t, s)[:, None] - torch.arange(s)[None]
    bias = block.age_bias[:, age.clamp(0, block.memory)]
    bias = bias.masked_fill((age < 0) | (age > block.memory), float("-inf"))
    out = block.block(queries, keys, bias.repeat_interleave(n, 1).repeat_interleave(n, 2))
    return out.reshape(b, v, t, n, c).transpose(1, 2)


@pytest.mark.parametrize("memory", [0, 2, 4])
@pytest.mark.parametrize("past_frames", [0, 1, 4])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_frames_in_turn_answer_as_all_at_once(memory, past_frames, frames):
    block = make_block(memory)
    past = torch.randn(2, past_frames, 3, TOKENS, WIDTH) if past_frames else None
    past = None if past is None or memory == 0 else past[:, -memory:]
    x = torch.randn(2, frames, 3, TOKENS, WIDTH)
    with torch.no_grad():
        expected, (found, _) = at_once(block, x, past), block(x, past)
    if frames == 1:
        assert torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weights = torch.randn_like(x)
    parameters = list(block.parameters())
    gradients = [
        torch.autograd.grad((out * weights).sum(), parameters)
        for out in (at_once(block, x, past), block(x, past)[0])
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


class Largest(TorchDispatchMode):
    """The most elements that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_no_mask_of_all_tokens_by_all_is_made():
    block, frames = make_block(3), 4
    x = torch.randn(1, frames, 1, TOKENS, WIDTH)
    with Largest() as ours:
        block(x, None)[0].sum().backward()
    assert ours.elements <= HEADS * TOKENS * frames * TOKENS
    with Largest() as before:
        at_once(block, x, None).sum().backward()
    assert before.elements >= HEADS * (frames * TOKENS) ** 2
