"""Encodings and examples that the tests of predictors share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hardware.backends.roofline import Roofline
from hardware.profile import profile
from hardware.store import LatencyStore
from predictors._role import Examples
from predictors.encodings._role import Encoding
from predictors.encodings.columns import Columns
from predictors.encodings.fbnet import FBNet
from predictors.encodings.nas_bench_201 import NasBench201
from predictors.encodings.space import SpaceEncoding
from searchspaces.placements import Placements
from tests.searchspaces.spaces import FAMILIES, SIGNATURE, space

ENCODINGS = ("columns", "fbnet", "nas_bench_201", "space", "profiled")


@lru_cache
def placements(family: str = "metaformer") -> Placements:
    """The blocks of a small space."""
    return Placements(space(FAMILIES[family]))


@lru_cache
def encoding(name: str) -> Encoding:
    """An encoding of each sort; `profiled` has a table."""
    if name == "columns":
        return Columns({"depth": np.arange(1.0, 7), "width": np.linspace(64, 640, 19), "heads": np.array([4.0, 8.0])})
    if name == "fbnet":
        return FBNet()
    if name == "nas_bench_201":
        return NasBench201()
    if name == "space":
        return SpaceEncoding(placements())
    found = placements()
    with LatencyStore(":memory:") as store:
        return SpaceEncoding(found, profile(found.units, SIGNATURE.input_shape, Roofline(), store))


def rows(of: Encoding, n: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Canonical rows: [n, decisions]."""
    return of.sample(np.random.default_rng(seed), n)


def examples(of: Encoding, n: int, seed: int = 0) -> Examples:
    """Latencies of a made-up device: sums, less where they overlap, with one per cent of noise.

    They are sums of the table where there is one, else of physical amounts.
    """
    matrix, table = rows(of, n, seed), of.contributions
    if table is None:
        amounts = of.physics(matrix)
        typical = np.maximum(of.physics(rows(of, 500, 99)).mean(axis=0), 1e-9)
        sums = 0.3 + amounts @ (np.random.default_rng(7).uniform(0.2, 1.0, amounts.shape[1]) / typical)
    else:
        sums = table.overhead + np.append(table.values, 0.0)[of.tokens(matrix)].sum(axis=1)
    return Examples(of, matrix, sums**0.9 * np.random.default_rng(seed + 1).lognormal(0, 0.01, n), seed=seed)
