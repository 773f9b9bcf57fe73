"""The course of the learning rate."""

from __future__ import annotations

import math


def schedule(progress: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, arXiv:1608.03983, equation 5).

    Args:
        progress: share of all steps, in (0, 1].
        warmup: share of the steps that warm up.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
