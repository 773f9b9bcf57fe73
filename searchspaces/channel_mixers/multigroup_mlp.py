"""Two-layer perceptron whose layers train in several groupings."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from searchspaces.blocks._convolution import ACTIVATIONS, Activation
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.mixers._multigroup import MultigroupConvolution
from searchspaces.part import Shape


def ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    """The values, if each is larger than the one before."""
    if list(values) != sorted(set(values)):
        raise ValueError(f"must ascend, not {list(values)}")
    return values


Groups = Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Field(min_length=1), AfterValidator(ascending)]
"""Numbers of groups of the branches of one convolution, ascending."""


class MultigroupMlp(ChannelMixer):
    """gMLP of FMViT, convolutional multigroup reparameterization (Tan, Geng and Xie, 2023, arXiv:2311.05707).

    Taken as its definition, from the paper's description: y = M2(f(M1(x))), M(x) = sum over g of N_g(W_g x), where W_g
    is a pointwise convolution in g of the `groups` and N_g its batch normalization; in inference each M is one plain
    pointwise convolution (`fuse`). `ratio` is the hidden width over the channel count. Groups are numbers of them:
    another width cuts its channels into groups anew.
    """

    ratio: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.0
    groups: Groups = (1, 2)
    activation: Activation = "relu"

    def build(self, shape: Shape) -> nn.Module:
        """The training form for shape[0] channels, at any size."""
        return MultigroupPerceptron(shape[0], max(1, round(shape[0] * self.ratio)), self.groups, self.activation)


class MultigroupPerceptron(nn.Module):
    """[b c h w] -> [b c h w]; two pointwise convolutions, each in several groupings, with a non-linearity between."""

    def __init__(self, channels: int, hidden: int, groups: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.expand = MultigroupConvolution(channels, hidden, groups)
        self.activation = ACTIVATIONS[activation]()
        self.project = MultigroupConvolution(hidden, channels, groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each position's features, transformed."""
        return self.project(self.activation(self.expand(x)))
