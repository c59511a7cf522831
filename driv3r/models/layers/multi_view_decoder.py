"""Exchange between many views, of which some are references."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.layers.blocks import CrossBlock, Told
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.layers.rope import Spin


class ReferenceSourceDecoder(nn.Module):
    """References and sources that read each other's last layer, with one decoder for each role.

    With `merge` "max" references hear the sources and sources hear the references, one attention
    a view and the channel-wise maximum of them (SLAM3R, Liu et al. 2025, inner-window local
    reconstruction). With "join" every view hears all others in one softmax (MV-DUSt3R, Tang et al.
    2025, multi-view decoder blocks). `across` adds blocks in which each view's tokens are exchanged
    between paths of different references (MV-DUSt3R+, cross-reference-view blocks). Every view
    tells its keys and values once a layer, and listens in turn, so that memory grows linearly with
    the views.
    """

    def __init__(
        self,
        encoder_width: int,
        width: int,
        depth: int,
        heads: int,
        merge: Literal["join", "max"],
        across: bool = False,
    ):
        super().__init__()
        self.all_meet = merge == "join"
        self.head_dim = width // heads
        self.project = nn.Linear(encoder_width, width)
        self.first, self.second = (
            nn.ModuleList(CrossBlock(width, heads, CROCO_STYLE, merge) for _ in range(depth))
            for _ in range(2)
        )
        self.across = None
        if across:
            self.across = nn.ModuleList(CrossBlock(width, heads, CROCO_STYLE) for _ in range(depth))
        self.norm = nn.LayerNorm(width, CROCO_STYLE.eps)

    def forward(
        self,
        views: Float[Tensor, "b v n e"],
        paths: Sequence[Sequence[int]],
        spin: Spin,
        extra: Float[Tensor, "b v n c"] | None = None,
    ) -> Float[Tensor, "b p v n c"]:
        """The last layer, normed, in paths that hold all views and differ in their references.

        `extra` is added to what every layer reads (SLAM3R's points). ConfigError where a path's
        references are none, all, or not among the views, or the paths do not fit the network.
        """
        x = views
        for layer in self.walk(views, paths, spin, extra):
            x = layer
        return self.norm(x)

    def walk(
        self,
        views: Float[Tensor, "b v n e"],
        paths: Sequence[Sequence[int]],
        spin: Spin,
        extra: Float[Tensor, "b v n c"] | None = None,
    ) -> Iterator[Float[Tensor, "b p v n c"]]:
        """Each layer in turn, not normed; as `forward`."""
        self.check(paths, views.shape[1])
        x = self.project(views)[:, None].expand(-1, len(paths), -1, -1, -1)
        for layer in range(len(self.first)):
            if extra is not None:
                x = x + extra[:, None]
            parts = [self.step(layer, x[:, i], path, spin) for i, path in enumerate(paths)]
            x = torch.stack(parts, 1)
            if self.across is not None:
                x = self.exchange(layer, x, spin)
            yield x

    def step(
        self, layer: int, x: Float[Tensor, "b v n c"], references: Sequence[int], spin: Spin
    ) -> Float[Tensor, "b v n c"]:
        """One layer of one path."""
        out = list(x.unbind(1))
        block, sources = block_of(self.first, layer), sources_of(references, len(out))
        told = self._tell(block, x, sources, spin)
        for view in references:
            out[view] = block.listen(x[:, view], told, spin)
        heard = self.step_sources(layer, x, references, spin)
        for view, tokens in zip(sources, heard.unbind(1), strict=True):
            out[view] = tokens
        return torch.stack(out, 1)

    def step_sources(
        self, layer: int, x: Float[Tensor, "b v n c"], references: Sequence[int], spin: Spin
    ) -> Float[Tensor, "b s n c"]:
        """One layer of one path, of the sources only."""
        block = block_of(self.second, layer)
        heard_views = range(x.shape[1]) if self.all_meet else references
        told = self._tell(block, x, heard_views, spin)
        out = []
        for view in sources_of(references, x.shape[1]):
            heard = leave_out(told, view) if self.all_meet else told
            out.append(block.listen(x[:, view], heard, spin))
        return torch.stack(out, 1)

    def exchange(
        self, layer: int, x: Float[Tensor, "b p v n c"], spin: Spin
    ) -> Float[Tensor, "b p v n c"]:
        """Each view's tokens of a path hear the same view's tokens of the other paths."""
        assert self.across is not None
        block, views = block_of(self.across, layer), x.shape[2]
        tokens = x.transpose(1, 2).flatten(0, 1)
        spin = spin.repeat_interleave(views, 1)
        told = self._tell(block, tokens, range(x.shape[1]), spin)
        out = [
            block.listen(tokens[:, path], leave_out(told, path), spin) for path in range(x.shape[1])
        ]
        return torch.stack([part.unflatten(0, (-1, views)) for part in out], 1)

    def _tell(
        self, block: CrossBlock, x: Float[Tensor, "b v n c"], views: Sequence[int], spin: Spin
    ) -> Told:
        chosen = x[:, list(views)]
        return block.tell(chosen, spin[:, :, None].expand(-1, -1, len(views), -1, -1, -1))

    def check(self, paths: Sequence[Sequence[int]], views: int) -> None:
        """Raise ConfigError unless the references can be had, as `forward`."""
        for path in paths:
            inside = [view for view in set(path) if 0 <= view < views]
            if not 0 < len(inside) == len(path) < views:
                raise ConfigError(
                    f"references {tuple(path)} of {views} views; expected at least one reference "
                    "and one other view, each named once"
                )
        if len(paths) != 1 if self.across is None else len(paths) < 2:
            raise ConfigError(
                f"{len(paths)} reference paths in a network "
                f"{'without' if self.across is None else 'with'} cross-reference blocks; it takes "
                "one without them, two or more with them"
            )


def block_of(blocks: nn.ModuleList, layer: int) -> CrossBlock:
    """A layer's block, as what it is."""
    block = blocks[layer]
    assert isinstance(block, CrossBlock)
    return block


def sources_of(references: Sequence[int], views: int) -> list[int]:
    """The views that are no references, in order."""
    return [view for view in range(views) if view not in references]


def leave_out(told: Told, view: int) -> Told:
    """What all others told."""
    keys, values = (torch.cat([part[:, :view], part[:, view + 1 :]], 1) for part in told)
    return keys, values


def answer_views(
    heads: nn.ModuleList,
    tokens: Float[Tensor, "b v n c"],
    references: Sequence[int],
    size_hw: tuple[int, int],
    images: Float[Tensor, "b v 3 h w"] | None = None,
) -> PointAnswer:
    """Points of all views, by the first head for references and the second for sources.

    `images` are for heads that correct points by them.
    """
    points, confidence = [], []
    for view in range(tokens.shape[1]):
        head = heads[0 if view in references else 1]
        seen = () if images is None else (images[:, view],)
        answer = head([tokens[:, view]], size_hw, *seen)
        points.append(answer.points)
        confidence.append(answer.confidence)
    return PointAnswer(torch.stack(points, 1), torch.stack(confidence, 1))
