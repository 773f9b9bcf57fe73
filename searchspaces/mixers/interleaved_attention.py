"""Attention inside groups, and between a few latent tokens of all groups."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from searchspaces.mixers._cross_attention import CrossAttention
from searchspaces.mixers._grid import Grid
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive, PositivePair, pair
from searchspaces.mixers.window_attention import WindowSelfAttention
from searchspaces.part import Shape


class InterleavedAttention(TokenMixer):
    """Local and global attention by turns (FIT: Chen and Li, 2023, arXiv:2305.12689).

    Positions are grouped by windows. Local layer: self-attention inside each group. Then `latents` tokens of each group
    read from it by cross-attention, `depth` global layers of self-attention and a perceptron run over the latents of
    all groups, and the group's positions read from its latents:
    y = a + CrossAttention(x + a, z), a = LocalAttention(x). The output lacks x, which the residual block around adds,
    and the local layer's perceptron is the channel mixer behind. In the paper the latents live through the whole
    network; here each mixer starts from its own learned ones, the same for all groups. Sizes that are no multiple of
    the window are padded, and padded keys masked. All inner widths, the latents' too, are heads * head_width.
    """

    window: PositivePair = 7
    latents: Positive = 4
    depth: Positive = 1
    heads: Positive = 4
    head_width: Positive = 16

    def build(self, shape: Shape) -> nn.Module:
        """The attention for shape[0] channels at this size; no group is larger than the image."""
        asked = pair(self.window)
        window = (min(asked[0], shape[1]), min(asked[1], shape[2]))
        return InterleavedSelfAttention(
            shape[0], (shape[1], shape[2]), window, self.latents, self.depth, self.heads, self.head_width
        )


class InterleavedSelfAttention(nn.Module):
    """[b c h w] -> [b c h w]; attention inside groups plus what the groups' latents bring from the others."""

    inside: Tensor | None

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        window: tuple[int, int],
        latents: int,
        depth: int,
        heads: int,
        head_width: int,
    ) -> None:
        super().__init__()
        inner = heads * head_width
        self.grid = Grid(size, window)
        self.local = WindowSelfAttention(channels, size, heads, head_width, window, (0, 0))
        self.latents = nn.Parameter(0.02 * torch.randn(latents, inner))
        self.read = CrossAttention(inner, channels, heads, head_width)
        self.layers = nn.ModuleList(GlobalLayer(inner, heads, head_width) for _ in range(depth))
        self.norm = nn.LayerNorm(inner)
        self.write = CrossAttention(channels, inner, heads, head_width)
        fits = size[0] % window[0] == 0 and size[1] % window[1] == 0
        self.register_buffer("inside", None if fits else self.grid.inside(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The local attention's output and the latents' answers to it."""
        local = self.local(x)
        groups = self.grid.split((x + local).permute(0, 2, 3, 1))
        answers = self.write(groups.flatten(0, 1), self._gathered(groups)).unflatten(0, groups.shape[:2])
        return local + self.grid.join(answers).permute(0, 3, 1, 2)

    def _gathered(self, groups: Float[Tensor, "b g t c"]) -> Float[Tensor, "bg m e"]:
        """Each group's latents, after they have read from it and met those of all groups."""
        batch, count = groups.shape[:2]
        mask = None if self.inside is None else self.inside.repeat(batch, 1)[:, None, None]
        latents = self.latents.expand(batch * count, -1, -1)
        latents = latents + self.read(latents, groups.flatten(0, 1), mask)
        together = latents.unflatten(0, (batch, count)).flatten(1, 2)
        for layer in self.layers:
            together = layer(together)
        return self.norm(together).unflatten(1, (count, -1)).flatten(0, 1)


class GlobalLayer(nn.Module):
    """[b m e] -> [b m e]; self-attention and a perceptron, each in a pre-normalized residual branch."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, heads, head_width)
        self.perceptron_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.project = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "b m e"]) -> Float[Tensor, "b m e"]:
        """The tokens after attention to each other."""
        normalized = self.attention_norm(tokens)
        tokens = tokens + self.attention(normalized, normalized)
        return tokens + self.project(self.activation(self.expand(self.perceptron_norm(tokens))))
