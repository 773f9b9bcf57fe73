"""Controllers that are trained batch by batch, as functions of the archive."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from nas.archive import Trial
from nas.problem import Problem
from searchspaces.part import Part

State = TypeVar("State")
REMEMBERED = 32
"""States that are kept for the next call, so that a search does not begin at its first batch again each time."""
_states: OrderedDict[bytes, Any] = OrderedDict()


def replayed(
    name: str,
    trials: Sequence[Trial],
    size: int,
    batches: int,
    first: Callable[[], State],
    step: Callable[[State, int], State],
) -> State:
    """The state after so many batches: step(state, number) for each of them, from the first state on.

    A state that is remembered from an earlier call is keyed by a digest of all that it depends on, and is therefore
    what a replay would give.

    Args:
        name: what states depend on beside the trials.
        trials: evaluated, in order.
        size: of a batch.
        batches: how many.
        first: the state before the first batch.
        step: the state after a batch, a new one; it sees no trials behind that batch.
    """
    keys = _keys(name, trials, size, batches)
    begun = next((number for number in range(batches, 0, -1) if keys[number - 1] in _states), 0)
    state: State = _states[keys[begun - 1]] if begun else first()
    for number in range(begun, batches):
        state = step(state, number)
        _remember(keys[number], state)
    return state


def identity(strategy: Part, problem: Problem, seed: int, *more: object) -> str:
    """A name that two searches share only if equal trials give them equal states."""
    given = (strategy.kind(), strategy.model_dump_json(), seed, np.asarray(problem.space.sizes).tolist())
    return repr((*given, dict(problem.objectives), dict(problem.constraints), more))


def forget() -> None:
    """Drops all remembered states: the next call replays from the first batch."""
    _states.clear()


def _keys(name: str, trials: Sequence[Trial], size: int, batches: int) -> list[bytes]:
    """A digest of the name and all trials up to the end of each batch."""
    digest, keys = hashlib.sha256(name.encode()), []
    for batch in range(batches):
        for trial in trials[batch * size : (batch + 1) * size]:
            digest.update(repr((trial.genes, trial.values, trial.state)).encode())
        keys.append(digest.digest())
    return keys


def _remember(key: bytes, state: Any) -> None:
    _states[key] = state
    if len(_states) > REMEMBERED:
        _states.popitem(last=False)
