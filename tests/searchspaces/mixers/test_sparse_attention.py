"""Attention to few positions: routed regions, two frequencies, dilated neighborhoods."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from searchspaces.mixers.attention import Attention
from searchspaces.mixers.dilated_neighborhood_attention import DilatedNeighborhoodAttention
from searchspaces.mixers.hilo_attention import HiloAttention
from searchspaces.mixers.routing_attention import RoutingAttention
from searchspaces.mixers.window_attention import WindowAttention
from searchspaces.skeleton import roles, take
from tests.searchspaces.twins import (
    attended,
    cells,
    depthwise,
    image_of,
    pair,
    per_head,
    positions,
    projected,
    twin_of,
)


@twin_of(
    (RoutingAttention(heads=2, head_width=3, regions=2, routed=2), (3, 4, 6)),
    (RoutingAttention(heads=2, head_width=3, regions=3, routed=2, kernel=3), (2, 5, 7)),
    (RoutingAttention(heads=2, head_width=3, regions=(3, 1), routed=5, kernel=(1, 3)), (3, 7, 3)),
    (RoutingAttention(heads=2, head_width=3, regions=9, routed=3), (2, 3, 2)),
)
def routed(part: RoutingAttention, module: Any, x: Tensor) -> Tensor:
    """Each sample alone: regions by division of positions, affinities one by one, then softmax over the union."""

    def sample(x: Tensor) -> Tensor:
        size = x.shape[2:]
        window = tuple(-(-length // count) for length, count in zip(size, pair(part.regions), strict=True))
        places, regions = positions(size), cells(size, window)
        tokens = {p: x[:, :, p[0], p[1]] for p in places}
        roles = {name: {p: getattr(module, name)(tokens[p]) for p in places} for name in ("query", "key", "value")}
        means = {
            name: {r: torch.stack([roles[name][p] for p in members]).mean(0) for r, members in regions.items()}
            for name in ("query", "key")
        }
        pixels = []
        for p in places:
            own = means["query"][p[0] // window[0], p[1] // window[1]]
            ranked = sorted(regions, key=lambda r: -float((own * means["key"][r]).sum().detach()))
            near = [other for r in ranked[: part.routed] for other in regions[r]]
            heads = [
                attended(
                    roles["query"][p][:, s],
                    [roles["key"][o][:, s] for o in near],
                    [roles["value"][o][:, s] for o in near],
                )
                for s in per_head(part.head_width, part.heads)
            ]
            pixels.append(torch.cat(heads, 1))
        values = image_of([roles["value"][p] for p in places], x)
        mixed = image_of(pixels, x) + depthwise(values, module.local.weight, module.local.bias)
        return module.output(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return torch.cat([sample(one[None]) for one in x])


def test_routing_to_all_regions_is_attention_to_all_positions() -> None:
    module: Any = RoutingAttention(heads=2, head_width=3, regions=3, routed=9).build((4, 5, 7))
    dense: Any = Attention(heads=2, head_width=3).build((4, 5, 7))
    dense.load_state_dict({name: value for name, value in module.state_dict().items() if "local" not in name})
    torch.nn.init.zeros_(module.local.weight)
    torch.nn.init.zeros_(module.local.bias)
    x = torch.randn(2, 4, 5, 7)
    torch.testing.assert_close(module(x), dense(x), rtol=1e-12, atol=1e-12)


def test_regions_that_are_not_routed_have_no_influence() -> None:
    part = RoutingAttention(heads=1, head_width=2, regions=2, routed=1, kernel=1)
    module: Any = part.build((2, 4, 4))
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, :, 0, 0].sum(), x)
    regions = F.max_pool2d(gradient.abs(), 2).sum(1).flatten()
    assert int((regions > 0).sum()) in (1, 2), "its own position, and the one region that it is routed to"


@twin_of(
    (HiloAttention(head_width=2, heads=3, low_share=0.4), (3, 5, 4)),
    (HiloAttention(head_width=2, heads=2, low_share=1.0, window=(2, 3)), (2, 3, 7)),
    (HiloAttention(head_width=2, heads=2, low_share=0.0, window=3), (2, 4, 5)),
    (HiloAttention(head_width=2, heads=2, low_share=0.5, window=1), (2, 3, 2)),
    (HiloAttention(head_width=2, heads=2, low_share=0.5, window=8), (2, 3, 2)),
)
def hilo(part: HiloAttention, module: Any, x: Tensor) -> Tensor:
    """Each position with those of its window, and with the means of all windows."""
    size, places = x.shape[2:], positions(x.shape[2:])
    low = part.heads if pair(part.window) == (1, 1) else int(part.heads * part.low_share)
    tokens, groups = {p: x[:, :, p[0], p[1]] for p in places}, cells(size, pair(part.window))
    means = [torch.stack([tokens[p] for p in members]).mean(0) for members in groups.values()]
    window_of = {p: members for members in groups.values() for p in members}
    pixels = []
    for p in places:
        parts = []
        if low < part.heads:
            near = [tokens[other] for other in window_of[p]]
            parts.append(projected(module.high, part, tokens[p], near, part.heads - low))
        if low:
            parts.append(projected(module.low.attention, part, tokens[p], means, low))
        pixels.append(torch.stack(parts).sum(0))
    return image_of(pixels, x)


def test_without_low_heads_hilo_is_window_attention() -> None:
    module: Any = HiloAttention(heads=2, head_width=3, low_share=0).build((4, 5, 7))
    other = WindowAttention(heads=2, head_width=3, window=2).build((4, 5, 7))
    other.load_state_dict(module.high.state_dict())
    x = torch.randn(2, 4, 5, 7)
    torch.testing.assert_close(module(x), other(x), rtol=1e-12, atol=1e-12)


def nearest(position: int, size: int, window: int, dilation: int) -> list[int]:
    """The window's positions by distance alone: members of the dilated group, nearest full run around the position."""
    window = min(window, size)
    dilation = min(dilation, size // window)
    group = range(position % dilation, size, dilation)
    runs = [group[first : first + window] for first in range(len(group) - window + 1)]
    return list(min(runs, key=lambda run: abs(run[0] + run[-1] - 2 * position)))


@twin_of(
    (DilatedNeighborhoodAttention(heads=2, head_width=2, window=3), (2, 4, 5)),
    (DilatedNeighborhoodAttention(heads=2, head_width=2, window=3, dilation=2), (2, 7, 6)),
    (DilatedNeighborhoodAttention(heads=2, head_width=2, window=(1, 5), dilation=(3, 1)), (3, 4, 7)),
    (DilatedNeighborhoodAttention(heads=2, head_width=2, window=5, dilation=3), (2, 4, 6)),
)
def neighborhood(part: DilatedNeighborhoodAttention, module: Any, x: Tensor) -> Tensor:
    """Each position with its nearest ones, and their biases."""
    size, places = x.shape[2:], positions(x.shape[2:])
    windows, dilations = pair(part.window), pair(part.dilation)
    spans = [min(w, s) for w, s in zip(windows, size, strict=True)]
    steps = [min(d, s // w) for d, s, w in zip(dilations, size, spans, strict=True)]
    tokens = {p: x[:, :, p[0], p[1]] for p in places}
    pixels = []
    for p in places:
        rows, columns = (nearest(p[a], size[a], windows[a], dilations[a]) for a in (0, 1))
        near = [(i, j) for i in rows for j in columns]
        heads = []
        for head, s in enumerate(per_head(part.head_width, part.heads)):
            biases = [
                module.bias[head, 0, (i - p[0]) // steps[0] + spans[0] - 1, (j - p[1]) // steps[1] + spans[1] - 1]
                for i, j in near
            ]
            keys, values = ([layer(tokens[o])[:, s] for o in near] for layer in (module.key, module.value))
            heads.append(attended(module.query(tokens[p])[:, s], keys, values, biases))
        pixels.append(module.output(torch.cat(heads, 1)))
    return image_of(pixels, x)


@pytest.mark.oracle("dilated_neighborhood_attention")
def test_inside_of_the_image_neighbors_are_those_of_a_dilated_convolution() -> None:
    """unfold as oracle: away from the border the neighborhood is a convolution's window."""
    window, dilation, size = 3, 2, (9, 8)
    module: Any = DilatedNeighborhoodAttention(heads=1, head_width=2, window=window, dilation=dilation).build(
        (2, *size)
    )
    torch.nn.init.zeros_(module.bias)
    x = torch.randn(1, 2, *size)
    query, key, value = (
        layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for layer in (module.query, module.key, module.value)
    )
    keys, values = (F.unfold(role, window, dilation).unflatten(1, (2, -1)) for role in (key, value))
    margin = dilation * (window // 2)
    inner = query[:, :, margin:-margin, margin:-margin].flatten(2)
    weights = ((inner[:, :, None] * keys).sum(1) / 2**0.5).softmax(1)
    expected = module.output((weights[:, None] * values).sum(2).transpose(1, 2)).transpose(1, 2)
    found = module(x)[:, :, margin:-margin, margin:-margin].flatten(2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_smaller_neighborhood_takes_the_centre_of_the_biases() -> None:
    large, small = (
        DilatedNeighborhoodAttention(heads=heads, window=w).build((3, 9, 9)) for heads, w in ((3, 7), (2, 3))
    )
    shared = large.get_parameter("bias")
    torch.testing.assert_close(take(roles(small)["bias"], shared), shared[:2, :, 4:9, 4:9])
