"""How the tokens of a network stand to each other: hops along its graph, there or back.

Populations have far fewer graphs than rows, so relations are worked out once for each graph.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from predictors.encodings._role import Genes

Bools = npt.NDArray[np.bool_]

FAR = 4
"""Hops from here on count as one relation."""
RELATIONS = 2 * FAR + 2
"""0: no way between them; 1 to FAR: hops to the other; FAR + 1: the same token; the rest: hops from the other."""
_SAME = FAR + 1


def graphs(edges: Bools) -> tuple[Bools, Genes]:
    """The different graphs among [n, t, t], and the number of each row's: [u, t, t] and [n]."""
    n, t, _ = edges.shape
    bits = np.packbits(edges.reshape(n, t * t), axis=1)
    keys = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1])))[:, 0]
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return edges[first], number


def hops(edges: Bools) -> npt.NDArray[np.int8]:
    """Edges of the shortest way from each token (second last axis) to each (last): [u, t, t] -> [u, t, t].

    FAR where there are that many or more, -1 where there is no way. A shortest way is as long as there are lengths
    that do not suffice; once no more are counted, what is within reach doubles with each product.
    """
    t = edges.shape[1]
    within = np.broadcast_to(np.eye(t, dtype=np.float32), edges.shape)
    one = np.maximum(edges, within)
    length = np.zeros(edges.shape, dtype=np.float32)
    for _ in range(FAR):
        length += 1 - within
        within = np.minimum(within @ one, 1)
    for _ in range(math.ceil(math.log2(max(t / FAR, 1)))):
        within = np.minimum(within @ within, 1)
    return np.where(within > 0, length, -1).astype(np.int8)


def relations(edges: Bools) -> npt.NDArray[np.int64]:
    """The relation of each pair of tokens: [u, t, t] -> [u, t, t], in 0 .. RELATIONS - 1. The nearer way counts."""
    kinds = np.array([[_kind(there, back) for back in range(-1, FAR + 1)] for there in range(-1, FAR + 1)])
    there = hops(edges) + 1
    return kinds[there, there.swapaxes(1, 2)]


def _kind(there: int, back: int) -> int:
    """The relation of two tokens by the hops from one to the other and back, -1 for no way."""
    if there == back == 0:
        return _SAME
    if there >= 0 and (back < 0 or there <= back):
        return there
    return _SAME + back if back >= 0 else 0
