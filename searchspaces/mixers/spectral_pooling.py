"""Features modulated by contexts in which low frequencies weigh more."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._depthwise import depthwise
from searchspaces.mixers._image_fourier import FourierTransform
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape

Balance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""The weight of low frequencies; high ones weigh the rest to one."""


class SpectralPooling(TokenMixer):
    """Spectral pooling aggregation modulation (SPANet: Yun et al., 2023, arXiv:2308.11568, eqs. 4, 5, 16 to 19).

    z = DW_{k x 1}(DW_{1 x k}(W x)); one spectral pooling gate for each of `balances` lambda scales its share of z's
    channels by lambda at frequencies with sqrt(u^2 + v^2) < `radius` and by 1 - lambda elsewhere, then mixes them by a
    1 x 1 convolution to all channels; y = W' (z * (sum of the gates)). That is computed as (1 - lambda) z +
    (2 lambda - 1) LP(z) for all channels at once, with the low-pass transform of the few frequencies inside the
    radius, and one 1 x 1 convolution. Channel i has balance i mod (number of balances), where the paper splits the
    channels into runs, so that a channel keeps its balance at every width.
    """

    kernel: Odd = 7
    radius: Positive = 2
    balances: Annotated[tuple[Balance, ...], Field(min_length=1)] = (0.7, 0.8, 0.9)

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels at this size; its parameters belong to no size."""
        return SpectralPoolingModulation(shape[0], (shape[1], shape[2]), self.kernel, self.radius, self.balances)


class SpectralPoolingModulation(nn.Module):
    """[b c h w] -> [b c h w]; features times their frequency-balanced context."""

    low: Tensor
    balance: Tensor

    def __init__(
        self, channels: int, size: tuple[int, int], kernel: int, radius: int, balances: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.input = nn.Conv2d(channels, channels, 1)
        self.across = depthwise(channels, (1, kernel))
        self.down = depthwise(channels, (kernel, 1))
        self.context = nn.Conv2d(channels, channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        self.transform = FourierTransform(*size, below=radius)
        self.register_buffer("low", _circle(size, radius), persistent=False)
        shares = torch.tensor(balances).repeat(channels)[:channels, None, None]
        self.register_buffer("balance", shares, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The modulated features, projected."""
        features = self.down(self.across(self.input(x)))
        real, imaginary = self.transform(features)
        smooth = self.transform.inverse(self.low * real, self.low * imaginary)
        balanced = (1 - self.balance) * features + (2 * self.balance - 1) * smooth
        return self.output(features * self.context(balanced))


def _circle(size: tuple[int, int], radius: int) -> Float[Tensor, "u v"]:
    """1 at frequencies nearer to zero than the radius, 0 at others, for a transform of those below the radius."""
    vertical = torch.arange(max(-(size[0] // 2), 1 - radius), min((size[0] - 1) // 2, radius - 1) + 1)
    horizontal = torch.arange(min(size[1] // 2, radius - 1) + 1)
    inside = vertical[:, None] ** 2 + horizontal**2 < radius**2
    return inside.to(torch.get_default_dtype())
