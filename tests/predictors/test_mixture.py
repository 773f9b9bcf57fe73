"""Averaging over linear models, against the definition written out hypothesis by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, multivariate_t

from predictors import _mixture
from predictors._mixture import Hypothesis, fit, hypotheses
from predictors.encodings._role import Floats


def problem(n: int, seed: int = 0) -> tuple[list[Floats], Floats, Floats]:
    """Three groups of columns, the first nearly the values; two anchors and their mean."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(n)
    groups = [y[:, None] + 0.3 * rng.standard_normal((n, 2)), rng.standard_normal((n, 3)), rng.standard_normal((n, 4))]
    groups = [group - group.mean(axis=0) for group in groups]
    anchors = np.zeros((3, 9))
    anchors[:, :2] = [[1, 0], [0, 1], [0.5, 0.5]]
    return groups, anchors, (y - y.mean()) / y.std()


def covariance(hypothesis: Hypothesis, x: Floats) -> Floats:
    prior = np.diag(hypothesis.variances) + np.outer(hypothesis.anchor, hypothesis.anchor)
    return x @ prior @ x.T + hypothesis.noise * np.eye(len(x))


def design(groups: list[Floats]) -> Floats:
    columns = np.concatenate(groups, axis=1)
    return np.concatenate([np.ones((len(columns), 1)), columns], axis=1)


@pytest.mark.parametrize("n", [4, 12])
def test_evidence_is_the_density_with_the_amplitude_integrated_out(n: int) -> None:
    """Under p(a) ~ 1/a the density depends on the values' direction only: that of a normal integrated over scales."""
    groups, anchors, y = problem(n)
    x = design(groups)
    found, evidence = hypotheses(groups, anchors, y)
    picked = np.random.default_rng(1).choice(len(found), 40, replace=False)
    scales = np.exp(np.linspace(-8, 8, 801))
    naive = []
    for hypothesis in (found[h] for h in picked):
        residual, shape = y - x @ hypothesis.mean, covariance(hypothesis, x)
        # p(y) = integral of N(residual; 0, a^2 shape) / a da, on a logarithmic grid of a
        normal = multivariate_normal(np.zeros(n), shape, allow_singular=True)
        densities = np.array([np.exp(normal.logpdf(residual / a) - n * np.log(a)) for a in scales])
        used = np.flatnonzero(hypothesis.variances[1:] > 0)
        count = 1 + (used >= 2).any() + (used >= 5).any()
        naive.append(np.log(densities.sum()) + count * np.log(_mixture.GROUP_PRIOR))
    shifted = evidence[picked] - np.array(naive)
    np.testing.assert_allclose(shifted, shifted[0], atol=1e-6)


def test_a_posterior_is_that_of_weighted_least_squares_with_a_prior() -> None:
    groups, anchors, y = problem(12)
    x = design(groups)
    for hypothesis in hypotheses(groups, anchors, y)[0][-40:]:
        found = hypothesis.posterior(x, y)
        prior = np.diag(hypothesis.variances) + np.outer(hypothesis.anchor, hypothesis.anchor)
        precision = np.linalg.inv(prior) + x.T @ x / hypothesis.noise
        mean = np.linalg.solve(precision, x.T @ y / hypothesis.noise + np.linalg.solve(prior, hypothesis.mean))
        np.testing.assert_allclose(found.weights, mean, atol=1e-6)
        shape = found.covariance / (found.noise / hypothesis.noise)
        np.testing.assert_allclose(shape, np.linalg.inv(precision), atol=1e-6)


def test_a_prediction_has_the_moments_of_the_student_distribution() -> None:
    groups, anchors, y = problem(12)
    x = design(groups)
    hypothesis = hypotheses(groups, anchors, y)[0][100]
    new = np.random.default_rng(3).standard_normal((1, x.shape[1] - 1))
    both = np.concatenate([x, np.insert(new, 0, 1.0, axis=1)])
    mean, variance = hypothesis.posterior(x, y).predict(new)
    shape, n = covariance(hypothesis, both), len(y)
    solved = np.linalg.solve(shape[:n, :n], y - x @ hypothesis.mean)
    center = both[n] @ hypothesis.mean + shape[n, :n] @ solved
    spread = shape[n, n] - shape[n, :n] @ np.linalg.solve(shape[:n, :n], shape[:n, n])
    expected = multivariate_t(center, spread * ((y - x @ hypothesis.mean) @ solved) / n, df=n)
    draws = float(expected.shape[0, 0]) * n / (n - 2)
    np.testing.assert_allclose([mean[0], variance[0]], [center, draws], rtol=1e-9)


def test_the_average_has_the_moments_of_the_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mixture, "NEGLIGIBLE", 0.0)
    groups, anchors, y = problem(8)
    x = design(groups)
    found, evidence = hypotheses(groups, anchors, y)
    shares = np.exp(evidence - evidence.max())
    shares /= shares.sum()
    new = np.random.default_rng(4).standard_normal((5, x.shape[1] - 1))
    said = [hypothesis.posterior(x, y).predict(new) for hypothesis in found]
    means, variances = (np.stack(moments) for moments in zip(*said, strict=True))
    mean, variance = fit(groups, anchors, y).predict(new)
    np.testing.assert_allclose(mean, shares @ means, rtol=1e-9)
    np.testing.assert_allclose(variance, shares @ (variances + means**2) - mean**2, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_leaving_out_what_is_negligible_changes_little(seed: int) -> None:
    groups, anchors, y = problem(10, seed)
    new = np.concatenate(groups, axis=1)
    mean, variance = fit(groups, anchors, y).predict(new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_mixture, "NEGLIGIBLE", 0.0)
        exact, exact_variance = fit(groups, anchors, y).predict(new)
    np.testing.assert_allclose(mean, exact, atol=0.05 * float(exact_variance.mean()) ** 0.5)
    np.testing.assert_allclose(variance, exact_variance, rtol=0.2)
