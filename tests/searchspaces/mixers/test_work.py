"""The work that the mixers' modules do."""

from __future__ import annotations

from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.linear_attention import LinearAttention
from searchspaces.mixers.multi_dilated import MultiDilated
from searchspaces.mixers.window_attention import WindowAttention
from tests.searchspaces.twins import multiplications


def test_work_is_counted_and_follows_the_formulas() -> None:
    c, h, w, n, d = 6, 4, 6, 2, 3
    t, projections, shape = h * w, 4 * c * n * d * h * w, (c, h, w)
    assert multiplications(Attention(heads=n, head_width=d), shape) == projections + 2 * n * d * t * t
    assert (
        multiplications(LinearAttention(heads=n, head_width=d), (c, h, w))
        == projections + 2 * n * d * d * t + n * d * t
    )
    assert multiplications(WindowAttention(heads=n, head_width=d, window=2), shape) == projections + 2 * n * d * t * 4
    assert multiplications(Depthwise(kernel=(3, 5)), shape) == c * t * 15
    assert multiplications(MultiDilated(kernel=3), shape) == c * t * 9


def test_linear_attention_is_linear_where_attention_is_quadratic() -> None:
    sizes = [(4, 8, 8), (4, 8, 16)]
    linear, softmax = ([multiplications(part, size) for size in sizes] for part in (LinearAttention(), Attention()))
    assert linear[1] == 2 * linear[0]
    assert softmax[1] > 2 * softmax[0]
