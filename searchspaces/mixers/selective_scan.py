"""Mamba: a gated selective state space along one or more scans of the positions."""

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


class SelectiveScan(TokenMixer):
    """Mamba's mixer (Gu and Dao, 2023, arXiv:2312.00752, section 3.4), with the cross-scan of VMamba for images.

    out(scan(silu(conv(value(x)))) * silu(gate(x))): the selective state space S6 of `SelectiveStateSpace` after a
    depthwise convolution, gated, on `expand` times the channels. `directions`: 1 is Mamba, causal along a sequence
    and along an image's rows; 2 adds the way back (Vision Mamba, arXiv:2401.09417); 4 the columns both ways (VMamba,
    arXiv:2401.10166). A sequence has two directions at most. With one direction along a sequence the convolution is
    causal, else it is centred, in both axes of an image, and common to all directions, as VMamba's. Normalization
    inside the mixer, which VMamba puts before the gate, is left out, as in Mamba. The step's rank is 1/16 of the
    channels.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    expand: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.0
    state: Positive = 8
    kernel: Odd = 3
    directions: Literal[1, 2, 4] = 1

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels, at any size."""
        axes, width = len(shape) - 1, max(1, round(shape[0] * self.expand))
        directions = min(self.directions, 2 * axes)
        convolution = local_convolution(width, self.kernel, axes, causal=directions == axes == 1)
        scans = SelectiveScans(width, self.state, -(-shape[0] // 16), directions)
        return GatedScan(shape[0], width, convolution, scans)


class GatedScan(nn.Module):
    """[b c h w] or [b c t] -> same shape; convolved and scanned features times a gate, projected back."""

    def __init__(self, channels: int, width: int, convolution: nn.Module, scans: nn.Module) -> None:
        super().__init__()
        self.value = nn.Linear(channels, width, bias=False)
        self.convolution = convolution
        self.scans = scans
        self.gate = nn.Linear(channels, width, bias=False)
        self.output = nn.Linear(width, channels, bias=False)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        tokens = x.flatten(2).transpose(1, 2)
        value = self.value(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        scanned = self.scans(F.silu(self.convolution(value))).flatten(2).transpose(1, 2)
        return self.output(scanned * F.silu(self.gate(tokens))).transpose(1, 2).reshape(x.shape)
