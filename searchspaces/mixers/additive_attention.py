"""Attention whose similarity is a sum of two contexts instead of a product."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._depthwise import depthwise
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import OddPair, pair
from searchspaces.part import Shape


class AdditiveAttention(TokenMixer):
    """Convolutional additive self-attention (CAS-ViT: Zhang et al., 2024, arXiv:2408.03703).

    O = Gamma(Phi(Q) + Phi(K)) * V, linear in the number of positions and without a product of matrices. Phi is spatial
    then channel interaction: z * sigmoid(w relu(BN(DW(z)))), one factor a position, then z * sigmoid(W mean(z)), one
    factor a channel. Gamma and the projection behind are depthwise convolutions, as in the authors' code; all depthwise
    kernels have the size `kernel`. The block's own position embedding and downsampling are not part of this.
    """

    kernel: OddPair = 3

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels, at any size."""
        return AdditiveSelfAttention(shape[0], pair(self.kernel))


class AdditiveSelfAttention(nn.Module):
    """[b c h w] -> [b c h w]; values weighted by the sum of query and key contexts."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1, bias=False)
        self.key = nn.Conv2d(channels, channels, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.query_context = nn.Sequential(SpatialInteraction(channels, kernel), ChannelInteraction(channels))
        self.key_context = nn.Sequential(SpatialInteraction(channels, kernel), ChannelInteraction(channels))
        self.similarity = depthwise(channels, kernel)
        self.output = depthwise(channels, kernel)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The weighted values, projected."""
        contexts = self.query_context(self.query(x)) + self.key_context(self.key(x))
        return self.output(self.similarity(contexts) * self.value(x))


class SpatialInteraction(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 for each position, from its neighborhood."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.local = depthwise(channels, kernel)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU()
        self.gate = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each position scaled."""
        return x * self.gate(self.activation(self.norm(self.local(x)))).sigmoid()


class ChannelInteraction(nn.Module):
    """[b c h w] -> [b c h w]; one factor between 0 and 1 for each channel, from the mean over positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, each channel scaled."""
        return x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
