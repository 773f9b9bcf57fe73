"""What holds for every strategy that the folder offers."""

from __future__ import annotations

import numpy as np
import pytest

from nas.archive import Archive, Trial
from nas.problem import InfeasibleError, Problem
from nas.strategies._role import Strategy
from searchspaces import registry
from tests.nas.tabulated import FakeSpace, costs, judge, problem, search

COSTLY = {"gp"}
"""Those that take tenths of a second for each candidate: they begin with 40 random ones, and go on for two."""
EVALUATIONS = {"gp": 15, "tpe": 60, "generative": 60, "enas": 100, "network_transformation": 100}
"""Over how many those that take long are compared; the others over 200."""
ALL = registry.kinds(Strategy)
EVERY = pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k in COSTLY)) for k in ALL])
REFERENCE = [1.3, 25.0]


def make(kind: str, evaluations: int = 60) -> Strategy:
    light = {"initial": 40} if kind in COSTLY and evaluations > 40 else {}
    return registry.resolve(Strategy, kind)(evaluations=evaluations, **light)


def length(kind: str, evaluations: int) -> int:
    return min(42, evaluations) if kind in COSTLY else evaluations


def prefix(archive: Archive, n: int) -> Archive:
    part = Archive.memory()
    for trial in archive.trials()[:n]:
        part.add(trial)
    return part


def test_the_folder_offers_random_and_nsga2() -> None:
    assert {"random", "nsga2"} <= set(registry.kinds(Strategy))


@EVERY
def test_asking_twice_gives_the_same(kind: str) -> None:
    archive = search(make(kind), problem(), 3, length(kind, 47))
    np.testing.assert_array_equal(make(kind).ask(problem(), archive, 3), make(kind).ask(problem(), archive, 3))


@EVERY
def test_seeds_differ(kind: str) -> None:
    assert search(make(kind), problem(), 1, 30).trials() != search(make(kind), problem(), 2, 30).trials()


@EVERY
@pytest.mark.parametrize("bounds", [{}, {"latency_ms": 9.0}])
def test_a_search_cut_at_any_point_repeats_the_uninterrupted_one(kind: str, bounds: dict[str, float]) -> None:
    whole = search(make(kind), problem(**bounds), 5, n := length(kind, 90))
    for cut in range(n):
        rows = make(kind).ask(problem(**bounds), prefix(whole, cut), 5)
        following = whole.matrix()[cut : cut + len(rows)]
        assert len(rows)
        np.testing.assert_array_equal(rows[: len(following)], following)


@EVERY
def test_a_search_cut_near_exhaustion_repeats_the_uninterrupted_one(kind: str) -> None:
    small = problem((3, 2, 2, 2), conditional=True)
    whole = search(make(kind), small, 5, 1000)
    for cut in range(len(whole)):
        rows = make(kind).ask(small, prefix(whole, cut), 5)
        assert len(rows)
        np.testing.assert_array_equal(rows, whole.matrix()[cut : cut + len(rows)])


@EVERY
@pytest.mark.parametrize("sizes", [(4, 3, 3, 3, 2), (2, 2), (3,), ()])
def test_small_spaces_are_exhausted_without_repeats_or_strangers(kind: str, sizes: tuple[int, ...]) -> None:
    small = problem(sizes[:3] if kind in COSTLY else sizes, conditional=True)
    archive = search(make(kind), small, 0, 10_000)
    assert isinstance(small.space, FakeSpace)
    assert {trial.genes for trial in archive.trials()} == {tuple(row) for row in small.space.rows.tolist()}
    assert len(make(kind).ask(small, archive, 0)) == 0


@EVERY
def test_one_answer_holds_no_repeats_and_nothing_archived(kind: str) -> None:
    archive = search(make(kind), problem((4, 3, 3, 3)), 2, length(kind, 70))
    rows = [tuple(row) for row in make(kind).ask(problem((4, 3, 3, 3)), archive, 2).tolist()]
    assert rows
    assert len(set(rows)) == len(rows)
    assert not set(rows) & {trial.genes for trial in archive.trials()}


@EVERY
@pytest.mark.parametrize("bound", [10.0, 3.0, 1.0])
def test_bounds_on_costs_are_kept_however_rare_the_feasible_are(kind: str, bound: float) -> None:
    bounded = problem(latency_ms=bound)
    archive = search(make(kind), bounded, 1, n := length(kind, 60))
    assert bounded.feasible(archive.matrix()).all()
    assert len(archive) == min(n, int((costs(bounded.space.rows)["latency_ms"] <= bound).sum()))  # type: ignore[attr-defined]


@EVERY
def test_a_bound_out_of_reach_is_named(kind: str) -> None:
    with pytest.raises(InfeasibleError, match=r"latency_ms <= -1 cannot be met"):
        make(kind).ask(problem(latency_ms=-1.0), Archive.memory(), 0)


@EVERY
def test_failed_trials_do_not_stop_the_search(kind: str) -> None:
    archive, hard = Archive.memory(), problem()
    while len(archive) < (n := length(kind, 80)):
        for row in make(kind).ask(hard, archive, 0):
            good = judge(hard, len(archive), row)
            failed = Trial(good.number, good.architecture_id, good.genes, good.architecture, {}, "failed", "no memory")
            archive.add(failed if good.number % 3 else good)
    assert len(archive) >= n


@EVERY
def test_bounds_on_quality_and_maximized_names_are_handled(kind: str) -> None:
    flipped = Problem(
        FakeSpace((4,) * 4), {"error": "minimize", "macs": "maximize"}, {"error": 0.5, "macs": 9.0}, costs
    )
    archive = search(make(kind), flipped, 0, length(kind, 60))
    assert (archive.values(["macs"]) >= 9).all()
    assert archive.front(flipped)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k in EVALUATIONS)) for k in ALL])
def test_no_worse_than_random_over_twenty_seeds(kind: str) -> None:
    n = EVALUATIONS.get(kind, 200)

    def volumes(name: str) -> list[float]:
        runs = [search(make(name, n), problem(), seed, n) for seed in range(20)]
        return [run.hypervolumes(problem(), REFERENCE)[-1] for run in runs]

    assert np.mean(volumes(kind)) >= np.mean(volumes("random"))
