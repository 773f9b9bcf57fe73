"""Channel attention from the image's mean features."""

from __future__ import annotations

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.gates._role import Gate
from searchspaces.part import Shape


class SqueezeExcitation(Gate):
    """Scales each channel by sigmoid(W2 relu(W1 z)), z the mean over positions (Hu et al., 2018, arXiv:1709.01507).

    Equations 2 to 4 of the paper, with biases. `reduction` is the channel count over the hidden width, which is at
    least 1.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)

    reduction: Annotated[int, Field(ge=1, strict=True)] = 4

    def build(self, shape: Shape) -> nn.Module:
        """The gate for shape[0] channels, at any size."""
        return ChannelGate(shape[0], max(1, shape[0] // self.reduction))


class ChannelGate(nn.Module):
    """[b c *positions] -> the same; one factor between 0 and 1 per sample and channel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def channel_axes(self) -> dict[str, int]:
        """By parameter: the axis of the channels, which may stand in any order."""
        return {"reduce.weight": 1, "expand.weight": 0, "expand.bias": 0}

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The input, each channel scaled; a sequence is an image of width one."""
        if x.ndim == 3:
            return self(x[..., None])[..., 0]
        squeezed = x.mean((2, 3), keepdim=True)
        return x * self.expand(F.relu(self.reduce(squeezed))).sigmoid()
