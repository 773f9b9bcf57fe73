"""Linear attention with rectified queries and keys, and a local path."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.mixers._depthwise import depthwise
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, Positive, pair
from searchspaces.part import Shape


class SimplifiedLinearAttention(TokenMixer):
    """Simplified linear attention (SLAB: Guo et al., 2024, arXiv:2405.11582).

    O = relu(Q) (relu(K)^T V) / (relu(Q) sum relu(K)) + DWC(V), then an output projection: ReLU is the kernel, and a
    depthwise convolution of the values gives back the local detail that linear attention smooths away. Linear in the
    number of positions; the inner width is heads * head_width. The authors' code adds a learned position embedding to
    the keys, tied to one window size, which is left out, and shares the convolution's kernels among the heads. SLAB's
    other half, progressive re-parameterized batch normalization, replaces the normalization of the block, not a piece
    of this operator.
    """

    heads: Positive = 4
    head_width: Positive = 16
    kernel: OddPair = 5

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels, at any size."""
        return RectifiedLinearAttention(shape[0], self.heads, self.head_width, pair(self.kernel))


class RectifiedLinearAttention(nn.Module):
    """[b c h w] -> [b c h w]; values weighted by relu(q) relu(k), plus the convolved values.

    `floor` keeps the normalizer above zero where a query or all keys are not positive: nothing is attended there.
    """

    floor = 1e-6

    def __init__(self, channels: int, heads: int, head_width: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.local = depthwise(inner, kernel)
        self.output = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended and the convolved values, projected back to the channels."""
        values = self.value(x)
        query, key, value = (self._split(role) for role in (F.relu(self.query(x)), F.relu(self.key(x)), values))
        normalizer = query @ key.sum(2).unsqueeze(-1) + self.floor
        mixed = query @ (key.transpose(2, 3) @ value) / normalizer
        attended = mixed.transpose(2, 3).reshape(values.shape)
        return self.output(attended + self.local(values))

    def _split(self, image: Float[Tensor, "b nd h w"]) -> Float[Tensor, "b n t d"]:
        """Heads apart; the head index is the slowest along the inner axis."""
        return image.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
