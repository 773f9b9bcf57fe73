"""What every executor promises, with one worker and with two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nas.executors._context import Context
from nas.executors._pool import Pool, perform
from nas.run import Judgement
from tests.nas.executors.jobs import Raises, Square, Surroundings, Weights


class StoppedError(Exception):
    """What a check raises."""


def after(calls: int) -> Callable[[], None]:
    """A check that raises from this call on."""
    made = 0

    def check() -> None:
        nonlocal made
        made += 1
        if made > calls:
            raise StoppedError

    return check


def test_results_come_in_the_order_of_the_jobs(pool: Pool) -> None:
    jobs = [Square(number, seconds=0.05 * (number % 3 == 0)) for number in range(12)]
    assert list(pool.map(jobs)) == [number**2 for number in range(12)]
    assert list(pool.map([])) == []


def test_every_worker_has_the_shared_weights_as_they_are_aligned_here(pool: Pool, context: Context) -> None:
    expected = perform(Weights(), context, lambda words: None)
    assert expected[1] == {0}
    assert list(pool.map([Weights(), Weights()])) == [expected, expected]


def test_errors_are_those_of_this_process_bit_by_bit(pool: Pool, context: Context) -> None:
    rows = context.trainee.placements.space.sample(np.random.default_rng(0), 6)
    jobs = [Judgement(tuple(int(gene) for gene in row)) for row in rows]
    expected = [context.evaluator.error(row) for row in rows]
    assert list(pool.map(jobs)) == expected
    assert list(pool.map(jobs[::-1])) == expected[::-1]


def test_a_job_has_one_thread_and_the_same_random_numbers_whatever_ran_before(pool: Pool) -> None:
    found = set(pool.map([Surroundings() for _ in range(4)])) | set(pool.map([Square(1), Surroundings()])) - {1}
    assert len(found) == 1 and next(iter(found))[0] == 1


def test_when_check_raises_what_was_begun_is_given_and_nothing_more_is_begun(pool: Pool) -> None:
    begun: set[int] = set()
    given = []
    with pytest.raises(StoppedError):
        for result in pool.map([Square(n) for n in range(9)], after(3), lambda number, words: begun.add(number)):
            given.append(result)
    assert given == [0, 1, 4] and begun == {0, 1, 2}
    with pytest.raises(StoppedError):
        next(pool.map([Square(2)], after(0)))


def test_what_a_job_raises_comes_in_its_place(pool: Pool) -> None:
    results = pool.map([Square(2), Raises("nowhere"), Square(3)])
    assert next(results) == 4
    with pytest.raises(LookupError, match="nowhere"):
        next(results)
    assert list(pool.map([Square(5)])) == [25]


def test_words_are_heard_with_the_number_of_the_job(pool: Pool) -> None:
    heard: list[tuple[int, str]] = []
    list(pool.map([Square(7), Square(8)], hear=lambda number, words: heard.append((number, words))))
    assert sorted(heard) == [(0, "squaring 7"), (1, "squaring 8")]


def test_results_that_nobody_takes_disturb_no_later_ones(pool: Pool) -> None:
    results = pool.map([Square(n) for n in range(6)])
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert list(pool.map([Square(9)])) == [81]


def test_after_close_other_workers_are_started(pool: Pool) -> None:
    assert list(pool.map([Square(3)])) == [9]
    pool.close()
    pool.close()
    assert list(pool.map([Square(4)])) == [16]
