"""Strategies whose controllers are trained on the archive: ENAS and network transformation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from nas.archive import Archive, Trial
from nas.problem import Problem
from nas.strategies import _replay
from nas.strategies._controller import Growing, Sequential, Trained
from nas.strategies._replay import replayed
from nas.strategies._role import Strategy
from nas.strategies._scalarized import extent, rewards, scalarized, weights
from nas.strategies.enas import Enas
from nas.strategies.network_transformation import Growth, NetworkTransformation
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.space import SearchSpace
from tests.nas.tabulated import FakeSpace, problem, search

SIZES = np.array([3, 4, 2, 1])
LEARNERS = pytest.mark.parametrize("strategy", [Enas(evaluations=60), NetworkTransformation(evaluations=60)])


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    _replay.forget()
    yield
    _replay.forget()


def controller(hidden: int = 16) -> Sequential:
    return Sequential(SIZES, 2, hidden, np.random.default_rng(0))


def test_drawn_rows_have_the_probabilities_that_are_scored() -> None:
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1).reshape(-1, len(SIZES))
    drawing = controller()
    with torch.no_grad():
        for parameter in drawing.parameters():
            parameter.mul_(20)
    toward = np.tile([[0.3, 0.7]], (6000, 1))
    chances = drawing.score(toward[: len(every)], every)[0].exp().detach().numpy()
    assert chances.sum() == pytest.approx(1, abs=1e-5)
    assert chances.max() > 2 / len(every)
    drawn = drawing.sample(toward, np.random.default_rng(1))
    counts = (drawn[:, None] == every).all(axis=2).sum(axis=0)
    np.testing.assert_allclose(counts / 6000, chances, atol=5 * np.sqrt(0.25 / 6000))


def test_the_entropy_of_a_new_controller_is_that_of_chance() -> None:
    entropy = controller().score(np.ones((1, 2)) / 2, np.zeros((1, 4), dtype=np.int64))[1]
    assert entropy.item() == pytest.approx(np.log(SIZES).sum(), rel=1e-3)


ROWS, TOWARD = np.array([[0, 0, 0, 0], [2, 3, 1, 0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
FIRST_IS_BETTER = np.array([[1.0, 1.0], [0.0, 0.0]])


def likely(state: Trained, toward: np.ndarray = TOWARD) -> np.ndarray:
    found: torch.Tensor = state.controller.score(toward, ROWS)[0].detach()  # type: ignore[operator]
    return found.numpy()


def test_a_step_makes_what_was_rewarded_more_likely_and_leaves_the_old_controller_alone() -> None:
    begun, learner = Trained.begun(controller(), 0.02), Enas(evaluations=1, entropy=0.0)
    before, loss = likely(begun), learner._loss(begun.controller, ROWS, ROWS[:0], TOWARD)
    after = begun.step(FIRST_IS_BETTER, 0.9, loss)
    change = likely(after) - before
    assert change[0] > 0 > change[1]
    np.testing.assert_array_equal(likely(begun), before)
    assert begun.baseline is None
    np.testing.assert_allclose(after.baseline, [0.5, 0.5])
    np.testing.assert_allclose(after.step(np.ones((2, 2)), 0.9, loss).baseline, [0.55, 0.55])


def test_what_a_direction_drew_teaches_others_as_much_as_they_would_draw_it() -> None:
    """Over all rows, weighted by how often they are drawn, the slope is that of each direction's expected reward."""
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1).reshape(-1, len(SIZES))
    drew, toward = controller(), np.array([[0.2, 0.8]])
    with torch.no_grad():
        for parameter in drew.parameters():
            parameter.mul_(3)
    given = torch.from_numpy(np.random.default_rng(0).random((len(every), 1))).float()
    ways = np.repeat(toward, len(every), axis=0)
    chances = drew.score(ways, every)[0].exp()
    expected = torch.autograd.grad((chances * given[:, 0]).sum(), drew.choice.weight)[0]
    loss = Enas(evaluations=1, entropy=0.0)._loss(drew, every, every[:0], toward)
    weighted = given * chances.detach()[:, None] * len(every)
    found = torch.autograd.grad(loss(drew, weighted), drew.choice.weight)[0]
    torch.testing.assert_close(-found, expected, rtol=1e-4, atol=1e-6)


def test_steps_are_those_of_adam() -> None:
    state, twin = Trained.begun(controller(), 0.02), controller()
    loss = Enas(evaluations=1)._loss(state.controller, ROWS, ROWS, TOWARD)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    state = state.step(FIRST_IS_BETTER, 0.9, loss, times=4)
    for _ in range(4):
        optimizer.zero_grad()
        loss(twin, torch.from_numpy(FIRST_IS_BETTER - 0.5).float()).backward()
        optimizer.step()
    for mine, theirs in zip(state.controller.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_memory_makes_the_last_state_tell_the_decisions() -> None:
    rows = np.random.default_rng(0).integers(0, SIZES, size=(32, 4))
    learner, state = Enas(evaluations=1, memory_weight=1.0, entropy=0.0), Trained.begun(controller(), 0.02)
    before = state.controller.forgotten(TOWARD.repeat(16, axis=0), rows).item()  # type: ignore[operator]
    state = state.step(np.zeros((2, 2)), 0.9, learner._loss(state.controller, ROWS, rows, TOWARD), times=100)
    assert state.controller.forgotten(TOWARD.repeat(16, axis=0), rows).item() < 0.3 * before  # type: ignore[operator]


def test_a_controller_follows_its_directions() -> None:
    """What is rewarded in one direction is not what is rewarded in the other."""
    toward, state = weights(2, 10), Trained.begun(Sequential(np.full(6, 3), 2, 32, np.random.default_rng(0)), 0.02)
    rng, learner = np.random.default_rng(1), Enas(evaluations=1, memory=0)
    for _ in range(40):
        rows = state.controller.sample(toward, rng)  # type: ignore[operator]
        earned = 1 - np.abs(rows[:, None] - (toward @ [[0], [2]])).mean(axis=2) / 2
        state = state.step(earned, 0.9, learner._loss(state.controller, rows, rows[:0], toward), times=5)
    ends = np.array([[1.0, 0.0], [0.0, 1.0]]).repeat(50, axis=0)
    means = state.controller.sample(ends, rng).mean(axis=1).reshape(2, 50).mean(axis=1)  # type: ignore[operator]
    assert means[1] > means[0] + 0.8


@LEARNERS
def test_what_is_remembered_is_what_a_replay_gives(strategy: Strategy) -> None:
    archive = search(strategy, problem(), 4, 45)
    remembered = strategy.ask(problem(), archive, 4)
    _replay.forget()
    np.testing.assert_array_equal(strategy.ask(problem(), archive, 4), remembered)


def test_a_state_is_remembered_for_its_own_trials_alone() -> None:
    trials = [Trial(n, str(n), (n,), {}, {"error": float(n)}) for n in range(3)]
    steps: list[int] = []

    def step(state: tuple[int, ...], number: int) -> tuple[int, ...]:
        steps.append(number)
        return (*state, number)

    def run(name: str, *given: Trial) -> tuple[int, ...]:
        return replayed(name, given, 1, len(given), lambda: (), step)

    assert run("a", *trials[:2]) == (0, 1)
    assert run("a", *trials) == (0, 1, 2)
    assert steps == [0, 1, 2]
    changed = Trial(1, "1", (1,), {}, {"error": 7.0})
    assert run("a", trials[0], changed) == (0, 1)
    assert run("b", trials[0]) == (0,)
    assert steps == [0, 1, 2, 1, 0]


def test_rewards_are_shares_of_what_is_worse_and_bounds_come_first() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.1, 0.1], [np.inf, np.inf]])
    violations = np.array([0.0, 0.0, 0.0, 0.3, np.inf])
    found = rewards(values, violations, 5, np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    assert found.T.tolist() == [[0.8, 0.4, 0.6, 0.2, 0], [0.4, 0.8, 0.6, 0.2, 0], [0.4, 0.4, 0.8, 0.2, 0]]
    np.testing.assert_array_equal(rewards(values, violations, 2, np.array([[1.0, 0.0]])), found[3:, :1])


def test_scalarized_values_are_least_where_their_direction_points() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((200, 2)) * [1.0, 50.0]
    found = scalarized(values, np.eye(2), *extent(values))
    assert (found.argmin(axis=0) == values.argmin(axis=0)).all()
    constant = scalarized(np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[0.5, 0.5]]), *extent(np.array([[1.0, 2.0]])))
    assert np.isfinite(constant).all()


def test_each_place_has_a_direction() -> None:
    assert weights(2, 10).shape == (10, 2)
    np.testing.assert_array_equal(weights(3, 4)[3], weights(3, 4)[0])
    np.testing.assert_array_equal(weights(1, 3), np.ones((3, 1)))


STAGE = {"depth": {"choice": [1, 2, 3]}, "width": 16, "stride": 1, "block": {"expansion": {"choice": [3.0, 2.0]}}}
MOBILE: dict[str, Any] = {"kind": "mobilenet", "stem": {"width": {"choice": [16, 8]}}, "stages": [STAGE], "head": 32}


def mobile() -> Problem:
    space = SearchSpace.of(parse(Network, MOBILE, open=True), Signature((3, 8, 8), 4))
    return Problem(space, {"error": "minimize", "latency_ms": "minimize"})


def test_growth_follows_the_values_of_options_not_their_order() -> None:
    found = mobile()
    growth = Growth(found)
    space = found.space
    assert isinstance(space, SearchSpace)
    least = space.describe_row(growth.least[0])
    assert sorted(least.values()) == [1, 2.0, 8]
    grown = space.describe_row(space.canonical(growth.grown(growth.least, growth.open(growth.least)))[0])
    assert {grown[name] for name in least} == {2, 3.0, 16}
    assert growth.deep.sum() == 1
    assert growth.parents(space.canonical(growth.grown(growth.least, growth.open(growth.least))), growth.least) == [0]


def test_options_that_are_no_numbers_do_not_grow() -> None:
    class Named:
        name, options = "mixer", ("conv", "attention")

    class Space(FakeSpace):
        @property
        def decisions(self) -> Any:
            return (Named(), 3)

    growth = Growth(Problem(Space((2, 3), False), {"error": "minimize"}))
    assert growth.able.tolist() == [False, True]
    assert growth.open(np.array([[0, 1], [0, 2]])).tolist() == [[False, True], [False, False]]
    assert growth.parents(np.array([[1, 1], [0, 1]]), np.array([[0, 0]])).tolist() == [-1, 0]


def test_the_parent_is_the_one_of_least_growth_and_the_latest() -> None:
    growth = Growth(problem((4,) * 3))
    known = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])
    assert growth.parents(np.array([[1, 1, 1], [2, 1, 1], [3, 3, 3], [0, 0, 0]]), known).tolist() == [2, 3, -1, -1]


def test_the_loss_is_that_of_the_probability_of_the_growth() -> None:
    """Widths by themselves, one depth or none: as a sum over all growth the probabilities make 1."""
    growth = Growth(problem((3,) * 4))
    growth.deep = np.array([True, False, True, False])
    actors = Growing(np.full(4, 3), 2, 8, np.random.default_rng(0))
    with torch.no_grad():
        for parameter in actors.parameters():
            parameter.mul_(10)
    parent, toward = np.array([[0, 1, 1, 2]]), np.array([[0.4, 0.6]])
    total, drawn = 0.0, growth.drawn(actors, toward.repeat(4000, 0), parent.repeat(4000, 0), np.random.default_rng(0))
    for deep in (None, 0, 2):
        for wide in (False, True):
            grow = np.zeros((1, 4), dtype=bool)
            grow[0, 1] = wide
            if deep is not None:
                grow[0, deep] = True
            loss = growth.loss(toward, parent, growth.grown(parent, grow))(actors, torch.ones(1))
            chance = float(torch.exp(-loss.detach()))
            assert (drawn == grow).all(axis=1).mean() == pytest.approx(chance, abs=0.04)
            total += chance
    assert total == pytest.approx(1, abs=1e-5)


def test_a_search_grows_from_the_smallest() -> None:
    archive = search(NetworkTransformation(evaluations=60), problem((4,) * 8), 0, 60)
    rows = archive.matrix()
    assert rows[0].tolist() == [0] * 8
    assert (Growth(problem((4,) * 8)).parents(rows[10:20], rows[:10]) >= 0).mean() > 0.5


def test_an_archive_of_failures_teaches_nothing_and_breaks_nothing() -> None:
    for strategy in (Enas(evaluations=60), NetworkTransformation(evaluations=60)):
        archive = Archive.memory()
        while len(archive) < 30:
            for row in strategy.ask(problem(), archive, 0):
                number = len(archive)
                archive.add(Trial(number, str(number), tuple(map(int, row)), {}, {}, "failed", "no memory"))
        assert len(archive) == 30
