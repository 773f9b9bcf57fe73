"""The expected cost: the same as adding up every architecture by its probability."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from predictors._expectation import expected
from searchspaces.placements import Placements
from tests.searchspaces.spaces import FAMILIES, space

BLOCK = {
    "mixer": {"choice": [{"kind": "depthwise", "kernel": {"choice": [3, 5]}}, {"kind": "pooling"}]},
    "channel_mixer": {"kind": "mlp"},
}
METAFORMER = {
    "kind": "metaformer",
    "stem": {"patch": {"choice": [1, 2]}, "width": {"choice": [4, 6]}},
    "stages": [
        {"depth": {"choice": [0, 1, 2]}, "width": {"choice": [4, 8]}, "block": BLOCK},
        {"depth": {"choice": [1, 2]}, "width": {"choice": [8, 12]}, "block": BLOCK, "shared": True},
    ],
}
CELL = {
    "kind": "cell",
    "filters": {"choice": [2, 3]},
    "stages": [{"choice": [1, 2]}, {"choice": [0, 1]}],
    "nodes": 2,
    "operations": ["skip_connect"],
}
OPERATIONS = {**CELL, "nodes": 1, "operations": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"]}
SMALL = {"cell": CELL, "operations": OPERATIONS, "metaformer": METAFORMER, "mobilenet": FAMILIES["mobilenet"]}


def logits(placements: Placements) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = placements.space.sizes
    return [torch.randn(int(n), dtype=torch.float64, generator=generator, requires_grad=True) for n in sizes]


def values(placements: Placements) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(len(placements.units), dtype=torch.float64, generator=generator).requires_grad_()


def enumerated(placements: Placements, table: Tensor, chances: list[Tensor]) -> Tensor:
    """Every combination of options, active or not, with its probability."""
    rows = np.array(list(product(*(range(int(size)) for size in placements.space.sizes))), dtype=np.int64)
    weight = torch.ones(len(rows), dtype=torch.float64)
    for number, chance in enumerate(chances):
        weight = weight * chance[rows[:, number]]
    sums = torch.cat([table, torch.zeros(1, dtype=table.dtype)])[placements.of(placements.space.canonical(rows))].sum(1)
    return (weight * sums).sum()


@pytest.mark.parametrize("family", sorted(SMALL))
def test_it_equals_the_sum_over_all_architectures_in_value_and_gradient(family: str) -> None:
    placements = Placements(space(SMALL[family]))
    table, free = values(placements), logits(placements)
    chances = [logit.softmax(0) for logit in free]
    fast, slow = expected(placements, table, chances), enumerated(placements, table, chances)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=0)
    ours = torch.autograd.grad(fast, [table, *free], retain_graph=True)
    theirs = torch.autograd.grad(slow, [table, *free])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_certain_choices_cost_what_the_architecture_costs(family: str) -> None:
    placements = Placements(space(FAMILIES[family]))
    table = values(placements).detach()
    padded = torch.cat([table, torch.zeros(1, dtype=table.dtype)])
    for row in placements.space.sample(np.random.default_rng(0), 10):
        certain = [torch.eye(int(size), dtype=torch.float64)[row[i]] for i, size in enumerate(placements.space.sizes)]
        assert float(expected(placements, table, certain)) == pytest.approx(
            float(padded[placements.of(row[None])[0]].sum())
        )


def test_the_decisions_of_large_cells_need_no_more_memory_than_one_slot() -> None:
    """Four nodes and seven operations: all decisions at once would have 10^18 combinations."""
    description = {"kind": "cell", "filters": 2, "stages": [{"choice": [1, 2]}, 1]}
    placements = Placements(space(description))
    chances = [torch.full((int(n),), 1 / int(n), dtype=torch.float64) for n in placements.space.sizes]
    ones = torch.ones(len(placements.units), dtype=torch.float64)
    blocks = 2 + 2.5 * (2 + 8 + 4 + 1) + 1 * (2 + 8 + 4 + 1)
    assert float(expected(placements, ones, chances)) == pytest.approx(blocks)
