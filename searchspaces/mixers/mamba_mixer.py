"""MambaMixer's token mixer: selective state spaces both ways, gated by a perceptron."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._selective import SelectiveScans, local_convolution
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class MambaMixer(TokenMixer):
    """Selective token mixer of MambaMixer (Behrouz et al., 2024, arXiv:2403.19888, section 3).

    out(S6(silu(conv(value(x)))) * MLP(x)): unlike Mamba's, the gate is a perceptron without a non-linearity behind it;
    two layers with SiLU between are taken as its definition, which the text leaves open. Images are scanned in
    `directions`, the rows both ways or rows and columns both ways (ViM2); a sequence both ways, or with one
    direction, causally, as a time series (TSM2) is. The channel half of the block is the channel mixer
    `selective_channel_mixer`. The weighted averages of earlier layers' outputs, by which the paper connects its
    mixers, belong to a network and are left out.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    expand: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 1.0
    state: Positive = 8
    kernel: Odd = 3
    directions: Literal[1, 2, 4] = 4

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels, at any size."""
        axes, width = len(shape) - 1, max(1, round(shape[0] * self.expand))
        directions = min(self.directions, 2 * axes)
        convolution = local_convolution(width, self.kernel, axes, causal=directions == axes == 1)
        scans = SelectiveScans(width, self.state, -(-shape[0] // 16), directions)
        return SelectiveTokenMixer(shape[0], width, convolution, scans)


class SelectiveTokenMixer(nn.Module):
    """[b c h w] or [b c t] -> same shape; scanned features times a perceptron's, projected back."""

    def __init__(self, channels: int, width: int, convolution: nn.Module, scans: nn.Module) -> None:
        super().__init__()
        self.value = nn.Linear(channels, width)
        self.convolution = convolution
        self.scans = scans
        self.gate_expand = nn.Linear(channels, width)
        self.gate = nn.Linear(width, width)
        self.output = nn.Linear(width, channels)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        tokens = x.flatten(2).transpose(1, 2)
        value = self.value(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        scanned = self.scans(F.silu(self.convolution(value))).flatten(2).transpose(1, 2)
        gate = self.gate(F.silu(self.gate_expand(tokens)))
        return self.output(scanned * gate).transpose(1, 2).reshape(x.shape)
