"""Multi-view decoders with reference and source views."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.layers.blocks import CrossBlock, KeyValue
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.layers.rope import RopeCosSin


class ReferenceSourceDecoder(nn.Module):
    """References and sources that read each other's last layer, with one decoder for each role.

    With `merge` "max" references attend to the sources and sources to the references, one attention
    per view and the channel-wise maximum of them (SLAM3R, Liu et al. 2025, inner-window local
    reconstruction). With "join" every view attends to all others in one softmax (MV-DUSt3R, Tang et
    al. 2025, multi-view decoder blocks). `across` adds blocks in which each view's tokens are
    exchanged between paths of different references (MV-DUSt3R+, cross-reference-view blocks). Every
    view's keys and values are projected once per layer, so that memory is linear in the views.
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
        self.attends_all = merge == "join"
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
        rope: RopeCosSin,
        extra: Float[Tensor, "b v n c"] | None = None,
    ) -> Float[Tensor, "b p v n c"]:
        """The last layer, normed, in paths that hold all views and differ in their references.

        `extra` is added to what every layer reads (SLAM3R's points). ConfigError where a path's
        references are none, all, or not among the views, or the paths do not fit the network.
        """
        x = views
        for layer in self.iterate_layers(views, paths, rope, extra):
            x = layer
        return self.norm(x)

    def iterate_layers(
        self,
        views: Float[Tensor, "b v n e"],
        paths: Sequence[Sequence[int]],
        rope: RopeCosSin,
        extra: Float[Tensor, "b v n c"] | None = None,
    ) -> Iterator[Float[Tensor, "b p v n c"]]:
        """Each layer in turn, not normed; as `forward`."""
        self.check(paths, views.shape[1])
        x = self.project(views)[:, None].expand(-1, len(paths), -1, -1, -1)
        for layer in range(len(self.first)):
            if extra is not None:
                x = x + extra[:, None]
            parts = [self.step(layer, x[:, i], path, rope) for i, path in enumerate(paths)]
            x = torch.stack(parts, 1)
            if self.across is not None:
                x = self.exchange(layer, x, rope)
            yield x

    def step(
        self, layer: int, x: Float[Tensor, "b v n c"], references: Sequence[int], rope: RopeCosSin
    ) -> Float[Tensor, "b v n c"]:
        """One layer of one path."""
        out = list(x.unbind(1))
        block, sources = block_of(self.first, layer), sources_of(references, len(out))
        kv = self._project_kv(block, x, sources, rope)
        for view in references:
            out[view] = block.forward_cached(x[:, view], kv, rope)
        context_out = self.step_sources(layer, x, references, rope)
        for view, tokens in zip(sources, context_out.unbind(1), strict=True):
            out[view] = tokens
        return torch.stack(out, 1)

    def step_sources(
        self, layer: int, x: Float[Tensor, "b v n c"], references: Sequence[int], rope: RopeCosSin
    ) -> Float[Tensor, "b s n c"]:
        """One layer of one path, of the sources only."""
        block = block_of(self.second, layer)
        context_views = range(x.shape[1]) if self.attends_all else references
        kv = self._project_kv(block, x, context_views, rope)
        out = []
        for view in sources_of(references, x.shape[1]):
            context_out = exclude_view(kv, view) if self.attends_all else kv
            out.append(block.forward_cached(x[:, view], context_out, rope))
        return torch.stack(out, 1)

    def exchange(
        self, layer: int, x: Float[Tensor, "b p v n c"], rope: RopeCosSin
    ) -> Float[Tensor, "b p v n c"]:
        """Each view's tokens of a path attend to the same view's tokens of the other paths."""
        assert self.across is not None
        block, views = block_of(self.across, layer), x.shape[2]
        tokens = x.transpose(1, 2).flatten(0, 1)
        rope = rope.repeat_interleave(views, 1)
        kv = self._project_kv(block, tokens, range(x.shape[1]), rope)
        out = [
            block.forward_cached(tokens[:, path], exclude_view(kv, path), rope)
            for path in range(x.shape[1])
        ]
        return torch.stack([part.unflatten(0, (-1, views)) for part in out], 1)

    def _project_kv(
        self, block: CrossBlock, x: Float[Tensor, "b v n c"], views: Sequence[int], rope: RopeCosSin
    ) -> KeyValue:
        chosen = x[:, list(views)]
        return block.project_kv(chosen, rope[:, :, None].expand(-1, -1, len(views), -1, -1, -1))

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
    """A layer's block, typed."""
    block = blocks[layer]
    assert isinstance(block, CrossBlock)
    return block


def sources_of(references: Sequence[int], views: int) -> list[int]:
    """The views that are no references, in order."""
    return [view for view in range(views) if view not in references]


def exclude_view(kv: KeyValue, view: int) -> KeyValue:
    """Keys and values of all other views."""
    keys, values = (torch.cat([part[:, :view], part[:, view + 1 :]], 1) for part in kv)
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
