"""Integer weights and activations, simulated in floating point for search and training."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Annotated, Any, Literal, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.generated_convolution import GeneratedConvolution
from searchspaces.quantization._role import QuantizationPolicy

Bits = Annotated[int, Field(ge=2, le=8, strict=True)]
"""A bit width that 8-bit integer arithmetic can carry."""


class Integer(QuantizationPolicy):
    """Uniform quantization of weights and inputs of each layer with weights (Jacob et al., 2018, arXiv:1712.05877).

    Weights: one scale per output channel or per tensor, taken from the weight at hand; symmetric around zero with
    2^bits - 1 levels, or affine with 2^bits. Inputs: one affine unsigned grid of 2^bits levels per tensor; its range
    is the batch's own in training mode and the mean over the batches seen since the last reset in evaluation mode.
    Biases, and products that hold no weight (attention's, the Fourier transform's), stay in floating point.
    """

    weight_bits: Bits = 8
    activation_bits: Bits = 8
    granularity: Literal["channel", "tensor"] = "channel"
    symmetric: Annotated[bool, Field(strict=True)] = True

    @property
    def stored_bits(self) -> int:
        """The weights' bits."""
        return self.weight_bits

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module, changed in place: each layer gets a child `observer` and computes on quantized numbers.

        Classes, parameters and their names stay. Preparing again replaces the policy and forgets the ranges.
        """
        for layer in list(module.modules()):
            if (forward := _forward(layer)) is None:
                continue
            layer.observer = FakeQuantizer(
                self.weight_bits, self.activation_bits, self.granularity == "channel", self.symmetric
            ).to(_device(module))
            vars(layer)["forward"] = MethodType(forward, layer)
        return module


class FakeQuantizer(nn.Module):
    """Rounds weights and inputs of one layer to their integer grids and remembers the range of the inputs.

    Buffers `low`, `high` (mean over batches of the smallest and largest input) and `count` (batches) are statistics,
    like those of batch normalization, and are reset by the same method.
    """

    low: Tensor
    high: Tensor
    count: Tensor

    def __init__(self, weight_bits: int, activation_bits: int, per_channel: bool, symmetric: bool) -> None:
        super().__init__()
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.per_channel, self.symmetric = per_channel, symmetric
        self.register_buffer("low", torch.zeros((), device="cpu"))
        self.register_buffer("high", torch.zeros((), device="cpu"))
        self.register_buffer("count", torch.zeros((), dtype=torch.long, device="cpu"))

    def reset_running_stats(self) -> None:
        """Forget the ranges seen so far."""
        for statistic in (self.low, self.high, self.count):
            statistic.zero_()

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The input on its grid.

        Raises:
            RuntimeError: in evaluation mode, if no batch was seen in training mode since the last reset.
        """
        low, high = self._observe(x) if self.training else self._recall()
        return _RoundToGrid.apply(x, *_affine_grid(low, high, self.activation_bits))[0]

    def quantize_weight(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The weight on its grid, whose scales come from the weight itself; output channels lie on axis 0."""
        axes = tuple(range(1 if self.per_channel else 0, weight.ndim))
        values = weight.detach()
        if not self.symmetric:
            grid = _affine_grid(values.amin(axes, keepdim=True), values.amax(axes, keepdim=True), self.weight_bits)
            return _RoundToGrid.apply(weight, *grid)[0]
        return _RoundToGrid.apply(weight, *_symmetric_grid(values.abs().amax(axes, keepdim=True), self.weight_bits))[0]

    @torch.no_grad()
    def _observe(self, x: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The range of this batch, which also enters the mean over batches."""
        low, high = extent(x)
        self.count += 1
        self.low += (low - self.low) / self.count
        self.high += (high - self.high) / self.count
        return low, high

    def _recall(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean range of the batches seen; an assertion that also a graph without control flow can hold."""
        torch._assert_async(self.count > 0, "no input range: run batches in training mode before evaluation")
        return self.low, self.high


def extent(x: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The lowest and the highest value of a batch."""
    low, high = x.aminmax()
    return low, high


def _affine_grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, lowest and highest multiple of it, for 2^bits levels that cover the range and hold zero (eq. 1)."""
    levels = 2**bits - 1
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / levels).clamp(min=1e-12)
    zero_point = (-low / scale).round()
    return scale, -zero_point, levels - zero_point


def _symmetric_grid(largest: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, lowest and highest multiple of it, for 2^bits - 1 levels around zero (section 3.1)."""
    highest = 2 ** (bits - 1) - 1
    bound = torch.full_like(largest, highest)
    return (largest / highest).clamp(min=1e-12), -bound, bound


class _RoundToGrid(torch.autograd.Function):
    """The nearest multiple of a scale within bounds, and whether it lay within them.

    The gradient is the straight-through estimator: one where the result is within bounds, zero where it is clipped
    (Bengio et al., 2013, arXiv:1308.3432; Jacob et al., eq. 12). As one function it keeps one truth value per number
    for the backward pass, where the same in separate steps keeps three numbers.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, lowest: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
        multiple = (x / scale).round_()
        bounded = multiple.clamp(lowest, highest)
        inside = bounded == multiple
        return bounded.mul_(scale), inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def _forward(layer: nn.Module) -> Callable[..., Tensor] | None:
    """What a layer computes instead, if it is one with weights."""
    if isinstance(layer, GeneratedConvolution):
        return _generated
    if "weight" not in layer._parameters:
        return None
    return _linear if isinstance(layer, nn.Linear) else _convolve if isinstance(layer, nn.Conv1d | nn.Conv2d) else None


def _device(module: nn.Module) -> torch.device | str:
    """Where a module's parameters are, the processor if they are nowhere."""
    first = next(module.parameters(), None)
    return "cpu" if first is None or first.is_meta else first.device


def _generated(
    self: GeneratedConvolution, x: Float[Tensor, "b c *sizes"], weight: Float[Tensor, "o i *kernel"], bias: Tensor
) -> Float[Tensor, "b o *sizes"]:
    """The convolution by a kernel on its grid."""
    observer = cast(FakeQuantizer, self.observer)
    return type(self).forward(self, observer(x), observer.quantize_weight(weight), bias)


def _convolve(self: nn.Conv1d | nn.Conv2d, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b d *outputs"]:
    """The convolution's forward on quantized numbers."""
    observer = cast(FakeQuantizer, self.observer)
    return self._conv_forward(observer(x), observer.quantize_weight(self.weight), self.bias)


def _linear(self: nn.Linear, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch d"]:
    """The linear layer's forward on quantized numbers."""
    observer = cast(FakeQuantizer, self.observer)
    return F.linear(observer(x), observer.quantize_weight(self.weight), self.bias)
