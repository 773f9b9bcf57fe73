"""FinerCut against a naive greedy removal, and on a trained transformer in which one layer does nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.data.digits import Digits
from nas.evaluator import Evaluator
from nas.problem import Floats, Genes, Problem
from nas.strategies.finer_cut import FinerCut, cuts
from nas.tasks.classification import Classification
from searchspaces.cost import cost
from searchspaces.extremes import extremes
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.nas.tabulated import FakeSpace, costs, problem, search
from tests.searchspaces.spaces import choice, space

WEIGHTS = np.array([0.3, 0.1, 0.8, 0.2, 0.6])


def distance(reference: Genes, rows: Genes) -> Floats:
    """Each decision matters by its weight, and two that are cut together matter more."""
    away = np.abs(rows - reference)
    return away @ WEIGHTS + 0.5 * away[:, 1] * away[:, 3]


def compared(**bounds: float) -> Problem:
    return replace(problem((3,) * 5, **bounds), distance=distance)


def naive(sizes: tuple[int, ...]) -> list[list[int]]:
    """Every architecture that is one decision smaller is tried; the nearest to the largest is taken."""
    top = np.array(sizes) - 1
    path = [top]
    while path[-1].any():
        tries = []
        for place, option in itertools.product(range(len(sizes)), range(max(sizes))):
            if option < path[-1][place]:
                tries.append(path[-1].copy())
                tries[-1][place] = option
        path.append(min(tries, key=lambda row: distance(top, row[None])[0]))
    return [row.tolist() for row in path]


def test_cuts_are_those_of_the_naive_loop() -> None:
    expected = naive((3,) * 5)
    assert cuts(compared(), 0, 100).tolist() == expected
    found = search(FinerCut(evaluations=40), compared(), 3, 40)
    assert found.matrix()[: len(expected)].tolist() == expected


def test_what_is_out_of_bounds_is_passed_and_not_evaluated() -> None:
    expected = [row for row in naive((3,) * 5) if sum(row) <= 6]
    found = search(FinerCut(evaluations=len(expected)), compared(latency_ms=6.0), 0, len(expected))
    assert found.matrix().tolist() == expected


def test_without_outputs_the_order_is_random_and_nothing_grows() -> None:
    table = problem((3,) * 5)
    one, other = (cuts(table, seed, 100) for seed in (0, 1))
    assert one.tolist() != other.tolist() and one.tolist() == cuts(table, 0, 100).tolist()
    assert (np.diff(costs(one)["latency_ms"]) < 0).all()
    assert one[0].tolist() == [2] * 5 and not one[-1].any()


def test_nothing_is_cut_where_no_cost_is_known() -> None:
    free = Problem(FakeSpace((2, 2)), {"error": "minimize"})
    assert len(cuts(free, 0, 10)) == 1


@pytest.fixture(scope="module")
def evaluator() -> tuple[Evaluator, Placements]:
    """Untrained weights of three layers, the second of which adds nothing."""
    block = {"heads": choice(0, 2), "head_width": 4, "hidden": choice(0, 12)}
    found = space({"kind": "transformer", "patch": 4, "width": 8, "depth": 3, "block": block}, Signature((1, 8, 8), 10))
    placements = Placements(found)
    torch.manual_seed(0)
    supernet = Supernet(placements)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if name.startswith("1/1/") and ("output" in name or "project" in name):
                parameter.zero_()
    return Evaluator(supernet, Classification(data=Digits(calibration=64)).load(), found), placements


def test_layers_that_add_nothing_are_cut_first(evaluator: tuple[Evaluator, Placements]) -> None:
    judge, placements = evaluator
    parameters = placements.tabulate(lambda unit: cost(unit.part, unit.shape).parameters)

    def sizes(rows: Genes) -> dict[str, Floats]:
        return {"parameters": parameters[placements.of(rows)].sum(axis=1)}

    real = Problem(
        placements.space, {"error": "minimize", "parameters": "minimize"}, {}, sizes, distance=judge.distances
    )
    path = cuts(real, 0, 10)
    assert path[0].tolist() == extremes(placements)[1].tolist()
    gone = [{d.name for d, gene in zip(placements.space.decisions, row, strict=True) if not gene} for row in path]
    assert gone[2] == {"space.block.heads[1]", "space.block.hidden[1]"}
    assert [len(names) for names in gone] == [0, 1, 2, 3, 4, 5, 6]
    changes = judge.distances(path[0], path)
    assert changes[:3].max() < 1e-6 < changes[3:].min()


def test_distances_are_remembered_and_zero_to_oneself(evaluator: tuple[Evaluator, Placements]) -> None:
    judge, placements = evaluator
    rows = placements.space.sample(np.random.default_rng(0), 4)
    first = judge.distances(rows[0], rows)
    assert first[0] == 0 and (first[1:] >= 0).all() and first.max() <= 1
    judge.supernet = None  # type: ignore[assignment]
    np.testing.assert_array_equal(judge.distances(rows[0], rows[::-1]), first[::-1])
