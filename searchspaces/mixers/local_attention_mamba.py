"""Attention inside windows for detail, a selective state space for the whole."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers._window import Positive, PositivePair
from searchspaces.mixers.selective_scan import SelectiveScan
from searchspaces.mixers.window_attention import WindowAttention
from searchspaces.part import Shape


class LocalAttentionMamba(TokenMixer):
    """LaMamba's mixer: Mamba and local self-attention, in a row or side by side (Fu et al., 2024, arXiv:2408.02615).

    `sequential`: m + attention(norm(x + m)) with m = mamba(x), which in a residual block is one residual step after
    the other, as in the paper; `parallel`: their sum. The parts are `selective_scan` and `window_attention`. The
    paper's feed-forward half, its conditioning on time and class, and its U-Net are no part of the mixer.
    """

    arrangement: Literal["sequential", "parallel"] = "sequential"
    heads: Positive = 4
    head_width: Positive = 16
    window: PositivePair = 4
    expand: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 1.0
    state: Positive = 8
    directions: Literal[1, 2, 4] = 2

    def build(self, shape: Shape) -> nn.Module:
        """Both mixers for shape[0] channels at this size."""
        attention = WindowAttention(heads=self.heads, head_width=self.head_width, window=self.window).build(shape)
        mamba = SelectiveScan(expand=self.expand, state=self.state, directions=self.directions).build(shape)
        return LocalGlobal(attention, mamba, nn.LayerNorm(shape[0]) if self.arrangement == "sequential" else None)


class LocalGlobal(nn.Module):
    """[b c h w] -> [b c h w]; the whole image first and the windows after it, or both on the input without a norm."""

    def __init__(self, local: nn.Module, whole: nn.Module, norm: nn.Module | None) -> None:
        super().__init__()
        self.local, self.whole, self.norm = local, whole, norm

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mixed features."""
        whole = self.whole(x)
        if self.norm is None:
            return whole + self.local(x)
        return whole + self.local(self.norm((x + whole).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
