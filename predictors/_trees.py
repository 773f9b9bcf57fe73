"""Sums of regression trees, evaluated for many rows at once.

Each tree has at most 16 leaves, numbered from left to right. A node whose test fails rules out the leaves to its left;
what remains of a tree's leaves after all its nodes is a bit mask, and the lowest bit is the leaf that is reached
(QuickScorer: Lucchese et al., SIGIR 2015). The masks of all nodes on one feature depend on the interval alone in which
its value lies, so that they are looked up by interval; those of several features with one threshold each are looked up
together, by the outcomes of their tests as a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors._role import Arrays
from predictors.encodings._role import Floats

Masks = npt.NDArray[np.uint16]

LEAVES = 16
_ROWS = 512
_TOGETHER = 5
"""Features with one threshold that are looked up together."""
_ALL = np.uint16(0xFFFF)
_POWERS = 2.0 ** np.arange(_TOGETHER, dtype=np.float32)
_MANTISSA, _BIAS = 23, 127
"""Of a single-precision number: a power of two is told by its exponent."""


@dataclass(frozen=True)
class Trees:
    """Nodes with their tests `feature value <= threshold`, and the values of leaves [trees, 16]."""

    feature: npt.NDArray[np.int64]
    threshold: Floats
    tree: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint16]
    leaves: npt.NDArray[np.float64]

    @classmethod
    def of(cls, forests: Sequence[Any]) -> Trees:
        """Those of scikit-learn's fitted `HistGradientBoostingRegressor`s, one after the other."""
        trees = [stage[0].nodes for forest in forests for stage in forest._predictors]
        nodes: list[tuple[int, float, int, int]] = []
        leaves = np.zeros((len(trees), LEAVES))
        for number, tree in enumerate(trees):
            _walk(tree, 0, 0, number, nodes, leaves)
        feature, threshold, tree_of, mask = zip(*nodes, strict=True) if nodes else ((), (), (), ())
        return cls(
            np.array(feature, dtype=np.int64),
            np.array(threshold, dtype=float),
            np.array(tree_of, dtype=np.int64),
            np.array(mask, dtype=np.uint16),
            leaves,
        )

    def __call__(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The value of each tree: [n, f] -> [n, trees]."""
        found = np.empty((len(features), len(self.leaves)), dtype=np.float32)
        for start in range(0, len(features), _ROWS):
            self._some(features[start : start + _ROWS], found[start : start + _ROWS])
        return found

    def _some(self, features: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
        """Fills in the values of a few rows."""
        left, looked_up = np.full(out.shape, _ALL), np.empty(out.shape, dtype=np.uint16)
        for outcomes, masks in self._outcomes(features):
            left &= masks.take(outcomes, axis=0, out=looked_up, mode="clip")
        lowest = (left & (~left + np.uint16(1))).astype(np.float32).view(np.int32)
        exponent = (lowest >> _MANTISSA) - _BIAS
        self._values.take(exponent + self._starts, out=out, mode="clip")

    def _outcomes(self, features: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.int64], Masks]]:
        """For each group of tests the numbers of its outcomes [n], and the masks by number."""
        single, groups = self._single, self._groups
        if groups:
            failed = np.zeros((len(features), len(groups) * _TOGETHER), dtype=np.float32)
            failed[:, : len(single)] = features[:, self._columns] > self._limits
            numbers = (failed.reshape(len(features), -1, _TOGETHER) @ _POWERS).astype(np.int64)
            yield from zip(numbers.T, groups, strict=True)
        for feature, thresholds, masks in self._several:
            yield np.searchsorted(thresholds, features[:, feature]), masks

    @cached_property
    def _tests(self) -> list[tuple[int, Floats, Masks]]:
        """For each feature that is tested its thresholds, and by interval the masks of all trees."""
        return [self._test(int(feature)) for feature in np.unique(self.feature)]

    def _test(self, feature: int) -> tuple[int, Floats, Masks]:
        own = np.flatnonzero(self.feature == feature)
        thresholds = np.unique(self.threshold[own])
        masks = np.full((len(thresholds) + 1, len(self.leaves)), _ALL)
        for node in own:
            fails = np.searchsorted(thresholds, self.threshold[node]) + 1
            masks[fails:, self.tree[node]] &= self.mask[node]
        return feature, thresholds, masks

    @cached_property
    def _single(self) -> list[tuple[int, Floats, Masks]]:
        return [test for test in self._tests if len(test[1]) == 1]

    @cached_property
    def _several(self) -> list[tuple[int, Floats, Masks]]:
        return [test for test in self._tests if len(test[1]) > 1]

    @cached_property
    def _columns(self) -> npt.NDArray[np.int64]:
        return np.array([feature for feature, _, _ in self._single], dtype=np.int64)

    @cached_property
    def _limits(self) -> Floats:
        return np.array([thresholds[0] for _, thresholds, _ in self._single])

    @cached_property
    def _groups(self) -> list[Masks]:
        """For each group of single tests the masks by the number of their outcomes: [32, trees]."""
        found = []
        for start in range(0, len(self._single), _TOGETHER):
            masks = np.full((2**_TOGETHER, len(self.leaves)), _ALL)
            for place, (_, _, own) in enumerate(self._single[start : start + _TOGETHER]):
                masks &= own[np.arange(2**_TOGETHER) >> place & 1]
            found.append(masks)
        return found

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.leaves), dtype=np.int64) * LEAVES

    @cached_property
    def _values(self) -> npt.NDArray[np.float32]:
        return self.leaves.astype(np.float32).reshape(-1)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Trees:
        """From `arrays()`."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def _walk(
    tree: Any, node: int, leaf: int, number: int, nodes: list[tuple[int, float, int, int]], leaves: Floats
) -> int:
    """Notes the nodes under one, whose leftmost leaf has this number; returns the number after its last leaf."""
    own = tree[node]
    if own["is_leaf"]:
        leaves[number, leaf] = own["value"]
        return leaf + 1
    middle = _walk(tree, int(own["left"]), leaf, number, nodes, leaves)
    ruled_out = (1 << middle) - (1 << leaf)
    nodes.append((int(own["feature_idx"]), float(own["num_threshold"]), number, int(_ALL) & ~ruled_out))
    return _walk(tree, int(own["right"]), middle, number, nodes, leaves)
