"""Drop-path: paths of a graph that are left out for some samples while weights are trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def dropped(x: Float[Tensor, "b *shape"], probability: float) -> Float[Tensor, "b *shape"]:
    """The samples, each set to zero with this probability, the others divided by that of being kept.

    Larsson et al., 2017, arXiv:1605.07648, section 3; the mean of the output is the input.
    """
    keep = 1 - probability
    kept = torch.rand(len(x), *(1 for _ in x.shape[1:]), dtype=x.dtype, device=x.device) < keep
    return x * kept / keep
