"""The diagonal linear recurrence behind state space models, for all positions at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def linear_recurrence(decay: Float[Tensor, "b t *state"], update: Float[Tensor, "b t *state"]) -> Tensor:
    """h_t = decay_t * h_{t-1} + update_t with h before the first position zero: [b t *state].

    Two neighbouring steps are one step of the same form, so the states at odd positions come from a sequence half as
    long, and those between from one step each (Blelloch, 1990, section 1.4.1): 2 t steps of work on log2 t levels, and
    no division, so that nothing overflows however small the decays are.
    """
    length = decay.shape[1]
    if length == 1:
        return update
    pairs = length // 2
    decay_even, decay_odd = decay[:, 0 : 2 * pairs : 2], decay[:, 1::2]
    odd = linear_recurrence(decay_even * decay_odd, decay_odd * update[:, 0 : 2 * pairs : 2] + update[:, 1::2])
    between = decay[:, 2::2] * odd[:, : (length - 1) // 2] + update[:, 2::2]
    even = torch.cat([update[:, :1], between], 1)
    paired = torch.stack([even[:, :pairs], odd], 2).flatten(1, 2)
    return torch.cat([paired, even[:, pairs:]], 1)
