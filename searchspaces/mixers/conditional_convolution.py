"""Convolution whose kernel is mixed from several for each sample."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, pair
from searchspaces.part import Shape


class ConditionalConvolution(TokenMixer):
    """CondConv: y = (sum_i a_i(x) W_i) * x, a kernel for each sample (Yang et al., 2019, arXiv:1904.04971, section 3).

    The routing is a(x) = sigmoid(R mean(x)); the mean goes over positions. Each expert has a bias too, mixed alike.
    The capacity grows with the experts, the multiplications hardly. A graph of the grouped convolution holds for one
    batch size; `fuse` gives the same as a product of matrices, for all.
    """

    kernel: OddPair = 3
    experts: Positive = 4

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels, at any size."""
        return MixedConvolution(shape[0], pair(self.kernel), self.experts)


class MixedConvolution(nn.Module):
    """[b c h w] -> [b c h w]; one grouped convolution for the batch, each sample a group with its own kernel."""

    def __init__(self, channels: int, kernel: tuple[int, int], experts: int) -> None:
        super().__init__()
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        self.routing = nn.Linear(channels, experts)
        bound = 1 / math.sqrt(channels * kernel[0] * kernel[1])
        self.weight = nn.Parameter(torch.empty(experts, channels, channels, *kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, channels).uniform_(-bound, bound))

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Leading experts, outputs and inputs, and the centre of kernels; the default knows two leading axes."""
        for axis, size in enumerate(shape):
            first = (shared.shape[axis] - size) // 2 if axis > 2 else 0
            shared = shared.narrow(axis, first, size)
        return shared

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each sample under its own mixture of kernels."""
        batch, channels, height, width = x.shape
        shares = self.routing(x.mean((2, 3))).sigmoid()
        weights = (shares @ self.weight.flatten(1)).view(batch * channels, channels, *self.weight.shape[3:])
        biases = (shares @ self.bias).flatten()
        side_by_side = x.reshape(1, batch * channels, height, width)
        return F.conv2d(side_by_side, weights, biases, padding=self.padding, groups=batch).view(x.shape)

    def fuse(self) -> nn.Module:
        """The form whose graph takes any batch."""
        return PatchProduct(self.routing, self.weight, self.bias).eval()


class PatchProduct(nn.Module):
    """[b c h w] -> [b c h w]; each sample's kernels times the patches of its positions.

    As many multiplications as the convolution, and memory for the patches. The other way that leaves the batch open,
    by linearity the mixture of all experts' outputs, would multiply as often as there are experts.

    Args:
        routing: [b c] -> [b e].
        weight: [e c c *kernel], of the experts.
        bias: [e c].
    """

    def __init__(self, routing: nn.Module, weight: Float[Tensor, "e c c k l"], bias: Float[Tensor, "e c"]) -> None:
        super().__init__()
        self.kernel = (weight.shape[3], weight.shape[4])
        self.routing = routing
        self.weight, self.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each sample under its own mixture of kernels."""
        shares = self.routing(x.mean((2, 3))).sigmoid()
        kernels = (shares @ self.weight.flatten(1)).unflatten(1, (x.shape[1], -1))
        patches = F.unfold(x, self.kernel, padding=(self.kernel[0] // 2, self.kernel[1] // 2))
        return (kernels @ patches + (shares @ self.bias).unsqueeze(2)).unflatten(2, x.shape[2:])
