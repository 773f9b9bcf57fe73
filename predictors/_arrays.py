"""Arrays of models within models: the inner one's names behind a prefix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictors._role import Arrays


def nested(name: str, arrays: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays as those of an inner model of that name."""
    return {f"{name}/{key}": array for key, array in arrays.items()}


def inner(name: str, arrays: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the inner model of that name."""
    return {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}


def number(arrays: Arrays, key: str) -> float:
    """A single number among arrays."""
    return float(np.asarray(arrays[key], dtype=float))
