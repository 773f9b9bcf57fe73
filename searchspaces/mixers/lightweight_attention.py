"""Attention to a smoothed image, with projections that train in several groupings."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers.multigroup_mlp import Groups
from searchspaces.mixers._multigroup import MultigroupConvolution
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive
from searchspaces.part import Shape


class LightweightAttention(TokenMixer):
    """RLMHSA of FMViT, re-parameterized lightweight multi-head self-attention (Tan et al., 2023, arXiv:2311.05707).

    Taken as its definition, from the paper's description: y = Mo(softmax(q k^T / sqrt(d)) v), q = Mq(x), k = Mk(P(x)),
    v = Mv(P(x)). P is the mean over `reduction` x `reduction` windows: what is attended to are low frequencies, and
    costs fall by its square. Each M is a sum of normalized pointwise convolutions in several `groups`, in inference one
    plain convolution (`fuse`). The inner width is heads * head_width, whatever the channel count.
    """

    heads: Positive = 4
    head_width: Positive = 16
    reduction: Positive = 2
    groups: Groups = (1, 2)

    def build(self, shape: Shape) -> nn.Module:
        """The training form for shape[0] channels, at any size."""
        return ReducedSelfAttention(shape[0], self.heads, self.head_width, self.reduction, self.groups)


class ReducedSelfAttention(nn.Module):
    """[b c h w] -> [b c h w]; every position attends to the means over windows, smaller ones at the end."""

    def __init__(self, channels: int, heads: int, head_width: int, reduction: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.pool = nn.AvgPool2d(reduction, reduction, ceil_mode=True, count_include_pad=False)
        self.query = MultigroupConvolution(channels, inner, groups)
        self.key = MultigroupConvolution(channels, inner, groups)
        self.value = MultigroupConvolution(channels, inner, groups)
        self.output = MultigroupConvolution(inner, channels, groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attended values, projected back to the channels."""
        means = self.pool(x)
        query, key, value = self._split(self.query(x)), self._split(self.key(means)), self._split(self.value(means))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(2, 3).flatten(1, 2)
        return self.output(mixed.unflatten(2, x.shape[2:]))

    def _split(self, image: Float[Tensor, "b nd h w"]) -> Float[Tensor, "b n t d"]:
        """Heads apart, positions as tokens; the head index is the slowest along the inner axis."""
        return image.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
