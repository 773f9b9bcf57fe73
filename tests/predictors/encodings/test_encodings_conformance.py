"""What every encoding keeps to."""

from __future__ import annotations

import numpy as np
import pytest

from tests.predictors.spaces import ENCODINGS, encoding, rows


@pytest.mark.parametrize("name", ENCODINGS)
def test_views_have_their_shapes_and_ranges(name: str) -> None:
    found = encoding(name)
    matrix = rows(found, 40)
    features, physics, tokens = found.features(matrix), found.physics(matrix), found.tokens(matrix)
    edges = found.edges(matrix)
    assert features.dtype == np.float32 and features.shape[0] == physics.shape[0] == 40
    assert np.isfinite(features).all() and np.isfinite(physics).all() and (physics >= 0).all()
    assert tokens.shape[0] == 40 and tokens.min() >= -1 and tokens.max() < found.vocabulary
    assert edges.shape == (40, tokens.shape[1], tokens.shape[1]) and edges.dtype == bool
    assert not edges[tokens < 0].any() and not edges.transpose(0, 2, 1)[tokens < 0].any()
    assert not np.tril(edges).any()


@pytest.mark.parametrize("name", ENCODINGS)
def test_rows_are_seen_each_by_itself(name: str) -> None:
    found = encoding(name)
    matrix = rows(found, 20)
    for view in (found.features, found.physics, found.tokens, found.edges, found.canonical):
        whole = view(matrix)
        np.testing.assert_allclose(view(matrix[::-1])[::-1], whole, rtol=1e-6)
        np.testing.assert_allclose(view(matrix[:1]), whole[:1], rtol=1e-6)
        assert view(matrix[:0]).shape == (0, *whole.shape[1:])


@pytest.mark.parametrize("name", ENCODINGS)
def test_features_tell_different_rows_apart(name: str) -> None:
    found = encoding(name)
    matrix = np.unique(rows(found, 200), axis=0)
    assert len(np.unique(found.features(matrix), axis=0)) == len(matrix)


@pytest.mark.parametrize("name", ENCODINGS)
def test_canonical_rows_are_their_own(name: str) -> None:
    found = encoding(name)
    once = found.canonical(rows(found, 100))
    np.testing.assert_array_equal(found.canonical(once), once)


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_is_no_row_is_refused(name: str) -> None:
    found = encoding(name)
    matrix = rows(found, 3)
    found.check(matrix)
    for wrong in (matrix[:, 1:], matrix[0], matrix - matrix.max() - 1, matrix + found.sizes):
        with pytest.raises(ValueError, match="decision"):
            found.check(wrong)


def test_signatures_differ() -> None:
    signatures = [encoding(name).signature for name in ENCODINGS]
    assert len(set(signatures)) == len(signatures)
