"""Convolution along a sequence that sees no later position."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class CausalConv1d(nn.Conv1d):
    """Depthwise convolution [b c t] -> [b c t] whose output at a position sees inputs up to there, zeros before."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, dilation=dilation, groups=channels, bias=bias)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Leading channels and the last taps: the centre, as of other kernels, would hand a tap another delay."""
        shared = shared[: shape[0]]
        return shared if len(shape) == 1 else shared[:, : shape[1], shared.shape[2] - shape[2] :]

    def _conv_forward(
        self, input: Float[Tensor, "b c t"], weight: Float[Tensor, "c 1 k"], bias: Float[Tensor, " c"] | None
    ) -> Float[Tensor, "b c t"]:
        """The convolution with given weights; the hook that fake quantization shares with torch's own layers."""
        padded = F.pad(input, (self.dilation[0] * (self.kernel_size[0] - 1), 0))
        return super()._conv_forward(padded, weight, bias)
