"""Array forms that several encodings share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictors.encodings._role import Genes


def one_hot(matrix: Genes, sizes: Genes, active: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float32]:
    """An indicator for each option of each decision, none where a decision is inactive: [n, decisions] -> [n, sum]."""
    found = np.zeros((len(matrix), int(sizes.sum())), dtype=np.float32)
    columns = matrix + (np.cumsum(sizes) - sizes)
    columns += np.arange(len(matrix), dtype=np.int64)[:, None] * found.shape[1]
    found.reshape(-1)[columns] = 1.0 if active is None else active
    return found


def chain(tokens: Genes) -> npt.NDArray[np.bool_]:
    """The edges of a chain: each token reads the nearest one before it: [n, t] -> [n, t, t]."""
    places = np.arange(tokens.shape[1], dtype=np.int16)
    last = np.maximum.accumulate(np.where(tokens >= 0, places, np.int16(-1)), axis=1)
    before = np.concatenate([np.full((len(tokens), 1), -1, dtype=np.int16), last[:, :-1]], axis=1)
    before = np.where(tokens >= 0, before, np.int16(-1))
    return places[None, :, None] == before[:, None, :]
