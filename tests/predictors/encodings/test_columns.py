"""Tables of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.encodings.columns import Columns

COLUMNS = {"depth": np.array([3.0, 1.0, 3.0, 2.0]), "offset": np.array([-1.5, 0.0, 2.5, -1.5])}


def test_rows_are_indices_of_sorted_values() -> None:
    space = Columns(COLUMNS)
    assert space.sizes.tolist() == [3, 3]
    assert space.encode(COLUMNS).tolist() == [[2, 0], [0, 1], [2, 2], [1, 0]]
    with pytest.raises(ValueError, match="offset"):
        space.encode({**COLUMNS, "offset": np.array([0.1, 0, 0, 0])})


def test_physics_are_columns_and_products() -> None:
    space = Columns({"a": np.array([1.0, 2.0, 4.0]), "b": np.array([0.0, 5.0, 10.0])})
    np.testing.assert_allclose(space.physics(np.array([[1, 1]])), [[0.5, 0.5, 0.25, 0.25, 0.25]])


def test_only_finite_columns_are_taken() -> None:
    for wrong in ({}, {"a": np.array([])}, {"a": np.array([1.0, np.nan])}):
        with pytest.raises(ValueError, match="finite"):
            Columns(wrong)
