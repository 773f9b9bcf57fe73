"""The two stages of depth compression: Kim et al. (2023, arXiv:2301.12187), on tables over stretches of convolutions.

Convolutions are numbered from 1; the stretch (k, l) holds k + 1 to l, and tables are [n + 1, n + 1]. A stretch whose
latency is infinite cannot be merged, one whose importance is minus infinity must keep an activation inside.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from nas.problem import Floats

Marks = tuple[int, ...]
"""Convolutions, in ascending order, behind which something stands."""


class Compressed(NamedTuple):
    """One way to compress a network."""

    latency: float
    importance: float
    kept: Marks
    """Behind these an activation is kept."""
    parted: Marks
    """Behind these one is left out, and yet they do not merge with the next."""


def fastest(latency: Floats, parting: Floats) -> tuple[Floats, dict[tuple[int, int], Marks]]:
    """Stage one: how fast each stretch can be without any activation inside, and where it is then parted.

    T_opt[k, l] = min(T[k, l], min over k < m < l of T_opt[k, m] + p[m] + T_opt[m, l]).

    Args:
        latency: of each stretch, merged to one convolution.
        parting: what it costs more to part behind a convolution without an activation [n + 1]; 0 in the paper.
    """
    best, n = latency.copy(), len(latency) - 1
    parted: dict[tuple[int, int], Marks] = {}
    stretches = sorted(combinations(range(n + 1), 2), key=lambda stretch: stretch[1] - stretch[0])
    for k, end in stretches:
        inside = range(k + 1, end)
        apart = min(((best[k, m] + parting[m] + best[m, end], m) for m in inside), default=(np.inf, 0))
        parted[k, end] = ()
        if apart[0] < best[k, end]:
            m = apart[1]
            best[k, end], parted[k, end] = apart[0], (*parted[k, m], m, *parted[m, end])
    return best, parted


def compressions(latency: Floats, parting: Floats, importance: Floats) -> list[Compressed]:
    """Stage two: the ways that no other beats in both latency and summed importance, the fastest first.

    D[l, t] = max over k < l of D[k, t - T_opt[k, l]] + I[k, l]. The paper tabulates D over whole numbers t; here each
    D[l, .] is kept as its steps, so that latencies need no rounding and all budgets are answered at once.
    """
    best, parted = fastest(latency, parting)
    steps: list[list[Compressed]] = [[Compressed(0.0, 0.0, (), ())]]
    for end in range(1, len(latency)):
        found = [
            Compressed(
                way.latency + best[k, end],
                way.importance + importance[k, end],
                (*way.kept, k) if k else way.kept,
                (*way.parted, *parted[k, end]),
            )
            for k in range(end)
            if np.isfinite(best[k, end]) and np.isfinite(importance[k, end])
            for way in steps[k]
        ]
        steps.append(_undominated(found))
    return steps[-1]


def _undominated(ways: list[Compressed]) -> list[Compressed]:
    """Those that no other beats, by latency."""
    kept: list[Compressed] = []
    for way in sorted(ways, key=lambda way: (way.latency, -way.importance)):
        if not kept or way.importance > kept[-1].importance:
            kept.append(way)
    return kept
