"""TCNCA: dilated convolutions along the sequence, then gated attention inside chunks."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._causal import CausalConv1d
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Odd, Positive
from searchspaces.part import Shape


class ChunkedAttentionTcn(TokenMixer):
    """MEGA's gated attention in chunks, on a dilated convolution network (Terzic et al., 2023, arXiv:2312.05605).

    MEGA (Ma et al., 2022, arXiv:2209.10655) with its moving average x' replaced by `layers` depthwise convolutions,
    dilated by kernel^0, kernel^1, ... with SiLU between, so that their reach grows exponentially at linear cost:
    z = silu(W_z x'), q and k are z scaled and shifted per feature, v = silu(W_v x), o = softmax(q k^T / sqrt(d) + b) v
    inside chunks, b by distance; reset gate r = silu(W_r x'), update gate u = sigmoid(W_u x'), candidate
    c = silu(W_c x' + U (r o)); y = u c + (1 - u) x. MEGA's equations are as published. Taken as the definition of
    the convolutional network, of which the summary says that it is dilated and reaches far with few layers: depthwise,
    as the moving average is; SiLU; and the kernel as the factor of the dilations, the largest that leaves no position
    out. An image is the sequence of its rows. If not `causal`, the convolutions are centred. Normalization before or
    after belongs to the block.
    """

    spatial_ranks: ClassVar[tuple[int, ...]] = (1, 2)
    kernel: Odd = 3
    layers: Positive = 2
    chunk: Positive = 16
    width: Positive = 16
    expand: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 1.0
    causal: bool = Field(default=False, strict=True)

    def build(self, shape: Shape) -> nn.Module:
        """The mixer for shape[0] channels, at this size."""
        positions, values = math.prod(shape[1:]), max(1, round(shape[0] * self.expand))
        network = DilatedNetwork(shape[0], positions, self.kernel, self.layers, self.causal)
        attention = ChunkAttention(self.width, positions, min(self.chunk, positions), self.causal)
        return GatedAttention(shape[0], self.width, values, network, attention)


class GatedAttention(nn.Module):
    """[b c h w] or [b c t] -> same shape; the gates of MEGA around a network of context and an attention."""

    def __init__(self, channels: int, width: int, values: int, network: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.network, self.attention = network, attention
        self.shared = nn.Linear(channels, width)
        self.value = nn.Linear(channels, values)
        self.reset = nn.Linear(channels, values)
        self.update = nn.Linear(channels, channels)
        self.candidate = nn.Linear(channels, channels)
        self.output = nn.Linear(values, channels, bias=False)

    def forward(self, x: Float[Tensor, "b c *positions"]) -> Float[Tensor, "b c *positions"]:
        """The mixed features."""
        sequence = x.flatten(2)
        context, tokens = self.network(sequence).transpose(1, 2), sequence.transpose(1, 2)
        attended = self.attention(F.silu(self.shared(context)), F.silu(self.value(tokens)))
        reset, update = F.silu(self.reset(context)), self.update(context).sigmoid()
        candidate = F.silu(self.candidate(context) + self.output(reset * attended))
        return (update * candidate + (1 - update) * tokens).transpose(1, 2).reshape(x.shape)


class DilatedNetwork(nn.Module):
    """[b c t] -> [b c t]; depthwise convolutions whose dilation grows by the factor of their kernel.

    It grows no further than the sequence is long: from there on all taps but one lie outside.
    """

    def __init__(self, channels: int, positions: int, kernel: int, layers: int, causal: bool) -> None:
        super().__init__()
        dilations = [min(kernel**layer, positions) for layer in range(layers)]
        self.layers = nn.ModuleList(_convolution(channels, kernel, dilation, causal) for dilation in dilations)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        """What lies around each position."""
        for layer in self.layers:
            x = F.silu(layer(x))
        return x


class ChunkAttention(nn.Module):
    """Shared features [b t d] and values [b t e] -> [b t e]; softmax attention inside chunks of the sequence.

    `bias` has a weight for each distance from -(chunk - 1) on, along its last axis: a smaller chunk takes the centre.
    """

    blocked: Tensor
    distance: Tensor

    def __init__(self, width: int, positions: int, chunk: int, causal: bool) -> None:
        super().__init__()
        self.chunk, self.chunks = chunk, -(-positions // chunk)
        self.query_scale, self.key_scale = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.query_shift, self.key_shift = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(1, 1, 2 * chunk - 1))
        apart = torch.arange(chunk) - torch.arange(chunk)[:, None]
        outside = (torch.arange(self.chunks * chunk) >= positions).view(self.chunks, 1, chunk)
        blocked = outside | (apart > 0) if causal else outside.expand(-1, chunk, -1)
        self.register_buffer("distance", apart + chunk - 1, persistent=False)
        self.register_buffer("blocked", blocked, persistent=False)

    def forward(self, shared: Float[Tensor, "b t d"], value: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """The attended values."""
        query = self._split(shared * self.query_scale + self.query_shift)
        key = self._split(shared * self.key_scale + self.key_shift)
        scores = query @ key.transpose(2, 3) / math.sqrt(shared.shape[2]) + self.bias[0, 0][self.distance]
        weights = scores.masked_fill(self.blocked, -math.inf).softmax(3)
        return (weights @ self._split(value)).flatten(1, 2)[:, : shared.shape[1]]

    def _split(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b chunks s d"]:
        """Chunks apart, the last one filled up with zeros."""
        padded = F.pad(tokens, (0, 0, 0, self.chunks * self.chunk - tokens.shape[1]))
        return padded.unflatten(1, (self.chunks, self.chunk))


def _convolution(channels: int, kernel: int, dilation: int, causal: bool) -> nn.Conv1d:
    """A depthwise convolution that keeps the length."""
    if causal:
        return CausalConv1d(channels, kernel, dilation)
    padding = dilation * (kernel // 2)
    return nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
