"""Max pooling: windows as published, and the promised shape at every size."""

from __future__ import annotations

import itertools

import pytest
import torch

from searchspaces.blocks.max_pooling import MaxPooling


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_each_window_begins_inside_and_every_position_that_a_stride_leaves_is_covered(kernel: int, stride: int) -> None:
    for height, width in itertools.product(range(1, 10), (1, 4, 7)):
        part, shape = MaxPooling(kernel=kernel, stride=stride), (2, height, width)
        x = torch.randn(1, *shape)
        y = part.build(shape)(x)
        assert tuple(y.shape[1:]) == part.output_shape(shape)
        for row, column in itertools.product(range(y.shape[2]), range(y.shape[3])):
            top, left = row * stride, column * stride
            window = x[..., top : top + min(kernel, height), left : left + min(kernel, width)]
            assert torch.equal(y[..., row, column], window.amax((2, 3)))
        assert (y.shape[2] - 1) * stride + kernel >= height or stride > kernel


def test_vovnets_pooling_of_224_pixels_gives_the_published_sizes() -> None:
    shape, sizes = (1, 56, 56), []
    for _ in range(3):
        shape = MaxPooling().output_shape(shape)
        sizes.append(shape[1])
    assert sizes == [28, 14, 7]
