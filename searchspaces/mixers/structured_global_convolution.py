"""Convolution whose kernel, as long as the sequence, is coarser and weaker the further it looks."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._global_convolution import GlobalConvolution
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class StructuredGlobalConvolution(TokenMixer):
    """SGConv: sub-kernels of doubling length, each interpolated from as many weights (Li et al., 2022).

    arXiv:2210.09298, section 3: k = 1/Z [k_0, k_1, ...], k_i = decay^i upsample(w_i) to points 2^max(i - 1, 0)
    lags, with `points` weights w_i. Z, which the paper measures once the weights are drawn, is its expected value here,
    so that it needs no place in a state. An image is the sequence of its rows; if not `causal`, a second kernel looks
    at later positions.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    points: Positive = 8
    decay: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The convolution for shape[0] channels at exactly this size."""
        channels, positions = shape[0], math.prod(shape[1:])
        past, future = (MultiscaleKernel(channels, positions, self.points, self.decay) for _ in range(2))
        return GlobalConvolution(channels, positions, past, None if self.causal else future)


class MultiscaleKernel(nn.Module):
    """-> [c t]; linear in its weights [c scales points]: a fixed matrix interpolates, decays and normalizes."""

    basis: Tensor

    def __init__(self, channels: int, positions: int, points: int, decay: float) -> None:
        super().__init__()
        scales = 1 + max(0, math.ceil(math.log2(positions / points)))
        self.weight = nn.Parameter(torch.randn(channels, scales, points))
        rows = []
        for scale in range(scales):
            length = points * 2 ** max(scale - 1, 0)
            sub_kernel = decay**scale * F.interpolate(torch.eye(points)[None], length, mode="linear")[0]
            before = points * 2 ** (scale - 1) if scale else 0
            rows.append(F.pad(sub_kernel, (before, max(0, positions - before - length)))[:, :positions])
        basis = torch.cat(rows)
        self.register_buffer("basis", basis / basis.square().sum().sqrt(), persistent=False)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Leading channels and scales; fewer points are the same curve, sampled less densely."""
        leading = shared[: shape[0], : shape[1]]
        return leading if leading.shape[2] == shape[2] else F.interpolate(leading, shape[2], mode="linear")

    def forward(self) -> Float[Tensor, "c t"]:
        """The kernel; its squares sum to one on average over the initial weights."""
        return self.weight.flatten(1) @ self.basis
