"""Channel attention from the image's mean features, without a bottleneck."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.part import Shape


class EffectiveSqueezeExcitation(Gate):
    """Scales each channel by hard_sigmoid(W z + b), z the mean over positions (VoVNetV2: Lee and Park, 2020).

    eSE of arXiv:1911.06667, section 3.2: one layer from channels to channels in place of squeeze and excitation's two,
    whose narrow middle loses channels. The hard sigmoid, relu6(x + 3) / 6, is that of the authors' implementation.
    """

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        return EffectiveChannelGate(shape[0])


class EffectiveChannelGate(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 per sample and channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.excite = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each channel scaled."""
        return x * F.hardsigmoid(self.excite(x.mean((2, 3), keepdim=True)))
