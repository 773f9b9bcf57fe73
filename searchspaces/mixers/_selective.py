"""Selective state spaces: linear recurrences whose coefficients depend on the input, along scans of the positions."""

from __future__ import annotations

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._causal import CausalConv1d
from searchspaces.mixers._recurrence import linear_recurrence


class SelectiveStateSpace(nn.Module):
    """[b t n] -> [b t n]; the S6 layer (Gu and Dao, 2023, arXiv:2312.00752, algorithm 2 and equations 2 and 4).

    For each channel and each state, with the step D_t = softplus(U V x_t + b), B_t and C_t linear in x_t, A < 0:

        h_t = exp(D_t A) h_{t-1} + (exp(D_t A) - 1) / A B_t x_t,    y_t = C_t h_t + skip x_t.

    That is the zero-order hold of equation 4; the authors' program takes D_t B_t x_t, its first order, for the second
    term. Steps start between 0.001 and 0.1, A at -1, -2, ... (section 3.6), V has `rank` rows.
    """

    def __init__(self, width: int, state: int, rank: int) -> None:
        super().__init__()
        self.step_factor = nn.Linear(width, rank, bias=False)
        self.step = nn.Linear(rank, width)
        self.write = nn.Linear(width, state, bias=False)
        self.read = nn.Linear(width, state, bias=False)
        self.log_rate = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))
        steps = torch.exp(math.log(0.001) + math.log(100) * torch.rand(width))
        self.step.bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)

    def forward(self, x: Float[Tensor, "b t n"]) -> Float[Tensor, "b t n"]:
        """What the states say at each position."""
        return self.answer(linear_recurrence(*self.coefficients(x)), x)

    def coefficients(self, x: Float[Tensor, "b t n"]) -> tuple[Float[Tensor, "b t n s"], Float[Tensor, "b t n s"]]:
        """What multiplies the last state at each position, and what is added to it."""
        rate = -self.log_rate.exp()
        exponent = F.softplus(self.step(self.step_factor(x))).unsqueeze(3) * rate
        update = torch.expm1(exponent) / rate * self.write(x).unsqueeze(2) * x.unsqueeze(3)
        return exponent.exp(), update

    def answer(self, states: Float[Tensor, "b t n s"], x: Float[Tensor, "b t n"]) -> Float[Tensor, "b t n"]:
        """The output of given states."""
        return (states * self.read(x).unsqueeze(2)).sum(3) + self.skip * x


class SelectiveScans(nn.Module):
    """[b n h w] or [b n t] -> same shape; the sum of selective state spaces, one for each direction of the scan.

    The first goes along the sequence (an image row by row), the second back; the third and fourth go along the columns
    of an image and back: the cross-scan of VMamba (Liu et al., 2024, arXiv:2401.10166).
    """

    def __init__(self, width: int, state: int, rank: int, directions: int) -> None:
        super().__init__()
        self.directions = nn.ModuleList(SelectiveStateSpace(width, state, rank) for _ in range(directions))

    def forward(self, x: Float[Tensor, "b n *positions"]) -> Float[Tensor, "b n *positions"]:
        """Each direction's output, back at its positions; all directions share one recurrence."""
        directions = [cast(SelectiveStateSpace, direction) for direction in self.directions]
        tokens = [_in_order(x, index) for index in range(len(directions))]
        pairs = (direction.coefficients(sequence) for direction, sequence in zip(directions, tokens, strict=True))
        decays, updates = zip(*pairs, strict=True)
        states = linear_recurrence(torch.cat(decays, 2), torch.cat(updates, 2)).chunk(len(directions), 2)
        total = torch.zeros_like(x)
        for index, direction in enumerate(directions):
            total = total + _back(direction.answer(states[index], tokens[index]), index, x.shape[2:])
        return total


def _in_order(x: Float[Tensor, "b n *positions"], direction: int) -> Float[Tensor, "b t n"]:
    """The positions as a direction meets them."""
    tokens = (x.transpose(-1, -2) if direction >= 2 else x).flatten(2).transpose(1, 2)
    return tokens.flip(1) if direction % 2 else tokens


def _back(tokens: Float[Tensor, "b t n"], direction: int, size: tuple[int, ...]) -> Float[Tensor, "b n *positions"]:
    """The inverse of `_in_order` for positions of this size."""
    sequence = (tokens.flip(1) if direction % 2 else tokens).transpose(1, 2)
    return sequence.unflatten(2, size[::-1]).transpose(-1, -2) if direction >= 2 else sequence.unflatten(2, size)


def local_convolution(width: int, kernel: int, axes: int, causal: bool) -> nn.Conv1d | nn.Conv2d:
    """Depthwise, [b n t] or [b n h w] -> same shape; centred, or along a sequence causal if asked."""
    if causal:
        return CausalConv1d(width, kernel)
    layer = nn.Conv1d if axes == 1 else nn.Conv2d
    return layer(width, width, kernel, padding=kernel // 2, groups=width)
