"""What the mixers' fields refuse, and the work that their modules do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.linear_attention import LinearAttention
from searchspaces.mixers.multi_dilated import MultiDilated
from searchspaces.mixers.pooling import Pooling
from searchspaces.mixers.window_attention import WindowAttention


@pytest.mark.parametrize("kernel", [0, 2, -1, 3.0, "3", True, (3, 4), (3,), (3, 3, 3)])
@pytest.mark.parametrize("part_class", [Depthwise, Pooling, MultiDilated])
def test_kernels_are_odd_and_positive(part_class: Any, kernel: Any) -> None:
    with pytest.raises(ValidationError):
        part_class(kernel=kernel)


@pytest.mark.parametrize(
    ("part_class", "fields"),
    [
        (Depthwise, {"dilation": 0}),
        (Depthwise, {"dilation": (1, 0)}),
        (MultiDilated, {"dilations": ()}),
        (MultiDilated, {"dilations": (0,)}),
        (Attention, {"heads": 0}),
        (Attention, {"head_width": True}),
        (LinearAttention, {"head_width": 0}),
        (WindowAttention, {"window": 0}),
        (WindowAttention, {"shifted": 1}),
    ],
)
def test_values_out_of_bounds_are_refused(part_class: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part_class(**fields)


def macs(part: Any, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample, counted on the meta device."""
    with torch.device("meta"):
        module, x = part.build(shape), torch.randn(1, *shape)
    with FlopCounterMode(display=False) as counter:
        module(x)
    return int(counter.get_total_flops()) // 2


def test_work_is_counted_and_follows_the_formulas() -> None:
    c, h, w, n, d = 6, 4, 6, 2, 3
    t, projections = h * w, 4 * c * n * d * h * w
    assert macs(Attention(heads=n, head_width=d), (c, h, w)) == projections + 2 * n * d * t * t
    assert macs(LinearAttention(heads=n, head_width=d), (c, h, w)) == projections + 2 * n * d * d * t + n * d * t
    assert macs(WindowAttention(heads=n, head_width=d, window=2), (c, h, w)) == projections + 2 * n * d * t * 4
    assert macs(Depthwise(kernel=(3, 5)), (c, h, w)) == c * t * 15
    assert macs(MultiDilated(kernel=3), (c, h, w)) == c * t * 9


def test_linear_attention_is_linear_where_attention_is_quadratic() -> None:
    sizes = [(4, 8, 8), (4, 8, 16)]
    linear, softmax = ([macs(part, size) for size in sizes] for part in (LinearAttention(), Attention()))
    assert linear[1] == 2 * linear[0]
    assert softmax[1] > 2 * softmax[0]
