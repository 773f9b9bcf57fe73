"""Choices of padding against numpy's and scipy's, and the published formula of partial padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch import Tensor

from searchspaces.mixers._padding import PaddedConvolution
from searchspaces.mixers.context_module import ContextModule
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.mixers.partial_convolution import PartialConvolution
from searchspaces.quantization.integer import Integer

SIZES = [(6, 5), (3, 4), (1, 2), (1, 1), (2, 7)]
KERNELS = [((3, 3), (1, 1)), ((5, 3), (1, 2)), ((1, 7), (1, 1)), ((3, 3), (4, 3))]
Kernel = tuple[tuple[int, int], tuple[int, int]]


def correlated(padded: np.ndarray, weight: np.ndarray, dilation: tuple[int, int]) -> np.ndarray:
    """One image [h w] and a kernel with zeros between its taps, by scipy."""
    spread = np.zeros([step * (size - 1) + 1 for step, size in zip(dilation, weight.shape, strict=True)])
    spread[:: dilation[0], :: dilation[1]] = weight
    return correlate2d(padded, spread, mode="valid")


def layer(kernel: Kernel, padding: Any, channels: int = 2) -> tuple[PaddedConvolution, list[tuple[int, int]]]:
    module = PaddedConvolution(channels, channels, *kernel, channels, padding).double()
    margins = [(step * (size // 2),) * 2 for size, step in zip(*kernel, strict=True)]
    return module, margins


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("padding", "mode"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_the_image_is_continued_as_numpy_does(padding: str, mode: Any, kernel: Kernel, size: tuple[int, int]) -> None:
    (module, margins), x = layer(kernel, padding), torch.randn(2, 2, *size, dtype=torch.float64)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()  # type: ignore[union-attr]
    for image, result in zip(x.numpy(), module(x).detach().numpy(), strict=True):
        for c in range(2):
            expected = correlated(np.pad(image[c], margins, mode=mode), weight[c, 0], kernel[1]) + bias[c]
            np.testing.assert_allclose(result[c], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_partial_padding_is_the_published_ratio(kernel: Kernel, size: tuple[int, int]) -> None:
    """y = w (x . m) sum(1) / sum(m) + b, m being 1 in the image and 0 in the padding (Liu et al., 2018)."""
    (module, margins), x = layer(kernel, "partial"), torch.randn(1, 2, *size, dtype=torch.float64)
    mask, ones = np.pad(np.ones(size), margins), np.ones(kernel[0])
    ratio = ones.sum() / correlated(mask, ones, kernel[1])
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()  # type: ignore[union-attr]
    for c in range(2):
        expected = correlated(np.pad(x[0, c].numpy(), margins), weight[c, 0], kernel[1]) * ratio + bias[c]
        np.testing.assert_allclose(module(x)[0, c].detach().numpy(), expected, rtol=1e-11, atol=1e-12)


def test_a_mean_under_partial_padding_keeps_a_constant_image_where_zeros_darken_its_border() -> None:
    x = torch.ones(1, 1, 5, 6)
    partial, zeros = (Depthwise(kernel=5, padding=padding).build((1, 5, 6)) for padding in ("partial", "zeros"))
    for parameter in partial.parameters():
        parameter.data.fill_(0.04)
    zeros.load_state_dict(partial.state_dict())
    torch.testing.assert_close(partial(x), partial(x)[:, :, 2:3, 2:3].expand_as(x))
    assert not torch.allclose(zeros(x), zeros(x)[:, :, 2:3, 2:3].expand_as(x))


@pytest.mark.parametrize("part_class", [Depthwise, PartialConvolution, ContextModule])
def test_only_the_border_knows_the_padding(part_class: Any) -> None:
    modules = {
        padding: part_class(padding=padding, **({"dilations": (1, 2)} if part_class is ContextModule else {}))
        for padding in ("zeros", "partial", "reflect", "replicate", "circular")
    }
    built = {padding: part.build((4, 9, 9)) for padding, part in modules.items()}
    x = torch.randn(1, 4, 9, 9)
    outputs = []
    for module in built.values():
        for name, parameter in built["zeros"].named_parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(len(name)))
        module.load_state_dict(built["zeros"].state_dict())
        outputs.append(module(x))
    for output in outputs[1:]:
        torch.testing.assert_close(output[:, :, 3:-3, 3:-3], outputs[0][:, :, 3:-3, 3:-3])
        assert not torch.allclose(output, outputs[0])


@pytest.mark.parametrize("padding", ["zeros", "partial", "reflect"])
def test_fake_quantization_reaches_padded_convolutions(padding: Any) -> None:
    module = Depthwise(padding=padding).build((3, 6, 6))
    x, plain = torch.randn(2, 3, 6, 6), module(torch.zeros(2, 3, 6, 6))
    exact: Tensor = module(x)
    quantized = Integer(weight_bits=8, activation_bits=8).prepare(module)(x)
    assert not torch.equal(quantized, exact)
    torch.testing.assert_close(quantized, exact, rtol=0.1, atol=0.05)
    assert plain.shape == x.shape
