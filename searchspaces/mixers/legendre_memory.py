"""Legendre memory unit: a sliding window of the past, compressed into Legendre polynomials."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._fourier import RealFourier, product
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class LegendreMemory(TokenMixer):
    """LMUFormer's token mixer (Liu et al., 2024, arXiv:2402.04882; the parallel LMU of arXiv:2102.11417).

    u_t = relu(W_u x_t), m_t = A m_{t-1} + B u_t, o_t = relu(W_m m_t + W_x x_t), biases apart. A and B are fixed: m_t
    holds the `order` first Legendre coefficients of the last `window` inputs of each of `signals` (Voelker et al.,
    2019). The memory is a convolution with its impulse response, causal; an image is the sequence of its rows.
    The patch embedding and the channel mixer of LMUFormer, and its spiking form, are no part of the mixer.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    signals: Positive = 8
    order: Positive = 8
    window: Positive = 32

    def build(self, shape: Shape) -> nn.Module:
        """The unit for shape[0] channels at exactly this size."""
        return LegendreMemoryUnit(shape[0], math.prod(shape[1:]), self.signals, self.order, self.window)


class LegendreMemoryUnit(nn.Module):
    """[b c h w] or [b c t] -> same shape; what the memory of a few signals says, beside the position itself."""

    response: Tensor

    def __init__(self, channels: int, positions: int, signals: int, order: int, window: int) -> None:
        super().__init__()
        self.transform = RealFourier(positions)
        self.signal = nn.Linear(channels, signals)
        self.memory = nn.Parameter(torch.randn(channels, signals, order) / math.sqrt(signals * order))
        self.direct = nn.Linear(channels, channels)
        response = impulse_response(order, window, positions).to(torch.get_default_device(), torch.get_default_dtype())
        self.register_buffer("response", response, persistent=False)

    @staticmethod
    def take(name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Leading along all axes: the memory's last axis counts polynomials, the lower ones first."""
        return shared[tuple(slice(size) for size in shape)]

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        tokens = x.flatten(2).transpose(1, 2)
        signals = F.relu(self.signal(tokens)).transpose(1, 2).unsqueeze(2)
        memory = self.transform.inverse(product(self.transform(signals), self.transform(self.response)))
        recalled = memory.flatten(1, 2).transpose(1, 2) @ self.memory.flatten(1).T
        return F.relu(recalled + self.direct(tokens)).transpose(1, 2).reshape(x.shape)


def impulse_response(order: int, window: int, positions: int) -> Float[Tensor, "order t"]:
    """A^t B of the memory at times 0, 1, ..., by zero-order hold over steps of one position, in float64.

    Before it is held: window A[i, j] = (2 i + 1) (-1 if i < j else (-1)^(i - j + 1)), window B[i] = (2 i + 1) (-1)^i.
    """
    i = torch.arange(order, dtype=torch.float64, device="cpu")
    signs = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    system = torch.zeros(order + 1, order + 1, dtype=torch.float64, device="cpu")
    system[:order, :order] = (2 * i[:, None] + 1) * signs / window
    system[:order, order] = (2 * i + 1) * (-1.0) ** i / window
    held = torch.linalg.matrix_exp(system)
    power, response = held[:order, :order], held[:order, order:]
    while response.shape[1] < positions:
        response = torch.cat([response, power @ response], 1)
        power = power @ power
    return response[:, :positions]
