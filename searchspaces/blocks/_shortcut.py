"""What runs beside a mixer: the identity, or more."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class AugmentedShortcut(nn.Module):
    """x + W2 gelu(W1 x), the augmented shortcut of PanGu-pi (Wang et al., 2023, arXiv:2312.17276, section 4.2).

    The paper's sum of projections T_i(x) beside the identity, with one of them in its bottleneck form. The
    bottleneck is a sixteenth of the channels, at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 16)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input, and a cheap non-linear map of it."""
        return x + self.expand(F.gelu(self.reduce(x)))
