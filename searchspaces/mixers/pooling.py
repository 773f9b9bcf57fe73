"""Average pooling as token mixer: nothing to learn."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, pair
from searchspaces.part import Shape


class Pooling(TokenMixer):
    """Average over the window minus the input: PoolFormer's mixer (Yu et al., 2022, arXiv:2111.11418, eq. 4).

    Positions outside the image do not count in the average. The input is subtracted because the block adds it again.
    """

    kernel: OddPair = 3

    def build(self, shape: Shape) -> nn.Module:
        """The pooling, at any size; it has no parameters."""
        return PoolingMixer(pair(self.kernel))


class PoolingMixer(nn.Module):
    """[b c h w] -> [b c h w]; the mean over the window less the position itself."""

    def __init__(self, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, 1, (kernel[0] // 2, kernel[1] // 2), count_include_pad=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """How far each position's neighbourhood lies above it."""
        return self.pool(x) - x
