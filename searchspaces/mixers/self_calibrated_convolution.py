"""Convolution whose one half is gated by its own surroundings at a lower resolution."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.blocks._convolution import ConvolutionNorm, convolution_norm
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class SelfCalibratedConvolution(TokenMixer):
    """Self-calibrated convolution ("Improving Convolutional Networks with ...", Liu et al., CVPR 2020).

    Section 3: of one half of the channels y_1 = K_4 * (K_3 * x_1 sigmoid(x_1 + up(K_2 * pool_r(x_1)))), of the
    other y_2 = K_1 * x_2, each convolution followed by batch normalization. The halves are the even and the odd
    channels, so that a channel keeps its half at every width. The pointwise convolutions around it in the paper's
    bottleneck are the channel mixer.
    """

    kernel: Odd = 3
    pooling: Positive = 4

    def build(self, shape: Shape) -> nn.Module:
        """The operator for shape[0] channels, at any size."""
        return CalibratedConvolution(shape[0], self.kernel, self.pooling)


class CalibratedConvolution(nn.Module):
    """[b c h w] -> [b c h w]; even channels calibrated, odd channels convolved."""

    place: Tensor

    def __init__(self, channels: int, kernel: int, pooling: int) -> None:
        super().__init__()
        even, odd = (channels + 1) // 2, channels // 2
        self.pooling = pooling
        self.context = convolution_norm(even, even, kernel)
        self.transform = convolution_norm(even, even, kernel)
        self.refine = convolution_norm(even, even, kernel)
        self.plain: ConvolutionNorm | None = convolution_norm(odd, odd, kernel) if odd else None
        order = torch.cat([torch.arange(0, channels, 2, device="cpu"), torch.arange(1, channels, 2, device="cpu")])
        self.register_buffer("place", order.argsort(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Both halves, channels in the input's order."""
        calibrated = self._calibrate(x[:, ::2])
        if self.plain is None:
            return calibrated
        return torch.cat([calibrated, self.plain(x[:, 1::2])], 1).index_select(1, self.place)

    def _calibrate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features, gated by themselves and their context."""
        pooled = F.avg_pool2d(x, self.pooling, ceil_mode=True)
        context = F.interpolate(self.context(pooled), size=x.shape[2:])
        return self.refine(self.transform(x) * (x + context).sigmoid())
