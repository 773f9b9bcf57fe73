"""Ridge, Gaussian process and boosting, each against an oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import Ridge as ScikitRidge

from predictors import _kernel
from predictors._kernel import Kernel, pivots
from predictors._latent import Target
from predictors._regression import Posterior, Spectrum, Standard, cross_validated
from predictors._role import Examples
from predictors._trees import LEAVES, Trees
from predictors.gaussian_process import Basis, GaussianProcess
from tests.predictors.spaces import encoding, examples


def drawn(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, d))
    return inputs, np.sin(inputs[:, 0]) + inputs @ rng.normal(size=d) / d + 0.1 * rng.normal(size=n)


def test_the_strength_is_that_of_least_generalized_error() -> None:
    inputs, values = drawn(40, 12)
    inputs, values = inputs - inputs.mean(axis=0), values - values.mean()
    scale = np.mean(np.linalg.svd(inputs)[1] ** 2)

    def error(strength: float) -> float:
        hat = inputs @ np.linalg.solve(inputs.T @ inputs + strength * np.eye(12), inputs.T)
        return float(((values - hat @ values) ** 2).sum() / (len(values) - 1 - np.trace(hat)) ** 2)

    (strength,), (noise,) = cross_validated(inputs, values[:, None])
    assert error(strength) <= min(error(scale * other) for other in np.logspace(-4, 4, 33)) * (1 + 1e-9)
    hat = inputs @ np.linalg.solve(inputs.T @ inputs + strength * np.eye(12), inputs.T)
    assert noise == pytest.approx(((values - hat @ values) ** 2).sum() / (39 - np.trace(hat)), rel=1e-4)


def test_the_posterior_mean_is_ridge_and_its_variance_the_textbooks() -> None:
    inputs, values = drawn(50, 6)
    posterior = Posterior.of(Spectrum.of(inputs, values), 0.3, rank=6)
    unseen = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    expected = ScikitRidge(alpha=0.3, fit_intercept=False).fit(inputs, values).predict(unseen)
    np.testing.assert_allclose(posterior.mean(unseen), expected, rtol=1e-4, atol=1e-5)
    covariance = 0.3 * np.linalg.inv(inputs.T @ inputs + 0.3 * np.eye(6))
    variance = 0.3 + np.einsum("ij,jk,ik->i", unseen, covariance, unseen)
    prior = (unseen.astype(float) ** 2).sum(axis=1)
    np.testing.assert_allclose(posterior.variance(unseen, prior), variance, rtol=1e-3)
    fewer = Posterior.of(Spectrum.of(inputs, values), 0.3, rank=2).variance(unseen, prior)
    assert (fewer >= variance - 1e-4).all()


@pytest.mark.parametrize(("n", "d"), [(40, 12), (12, 40)])
def test_the_spectrum_is_that_of_singular_values_whatever_is_longer(n: int, d: int) -> None:
    inputs, values = drawn(n, d)
    inputs[:, 3] = inputs[:, 2]
    found = Spectrum.of(inputs, values)
    left, sizes, right = np.linalg.svd(inputs, full_matrices=False)
    r = len(found.squares)
    assert r == np.linalg.matrix_rank(inputs)
    np.testing.assert_allclose(found.squares, sizes[:r] ** 2)
    np.testing.assert_allclose(found.projected**2, (sizes[:r] * (left.T @ values)[:r]) ** 2, atol=1e-9)
    np.testing.assert_allclose(np.abs((found.right * right[:r]).sum(axis=1)), 1)
    assert found.outside == pytest.approx(max(values @ values - ((left.T @ values)[:r] ** 2).sum(), 0), abs=1e-9)


def test_the_gradient_of_the_evidence_is_that_of_differences() -> None:
    inputs, values = drawn(25, 4)
    for seed in range(3):
        logs = np.random.default_rng(seed).normal(-1, 0.5, size=7)
        error = check_grad(
            lambda x: _kernel._energy(x, inputs, values)[0], lambda x: _kernel._energy(x, inputs, values)[1], logs
        )
        assert error < 1e-3 * np.abs(_kernel._energy(logs, inputs, values)[1]).max()


def test_with_all_examples_inducing_it_is_the_exact_process() -> None:
    inputs, values = drawn(60, 3)
    unseen = drawn(20, 3, seed=5)[0].astype(np.float32)
    kernel = Kernel(np.array([0.8, 0.3, 0.1], dtype=np.float32), linear=0.6, smooth=1.5)
    basis = Basis.of(kernel, inputs.astype(np.float32), 60)
    posterior = Posterior.of(Spectrum.of(basis(inputs.astype(np.float32)).astype(float), values), 0.02, rank=63)
    exact = ConstantKernel(0.6 / 3) * DotProduct(0.0) + ConstantKernel(1.5) * RBF(np.array([0.8, 0.3, 0.1]) ** -0.5)
    oracle = GaussianProcessRegressor(exact + WhiteKernel(0.02), optimizer=None).fit(inputs, values)
    mean, std = oracle.predict(unseen, return_std=True)
    np.testing.assert_allclose(posterior.mean(basis(unseen)), mean, atol=5e-3)
    variance = posterior.variance(basis(unseen), basis.prior(unseen))
    np.testing.assert_allclose(np.sqrt(variance), std, rtol=0.02)


def test_inducing_examples_are_different_and_say_most() -> None:
    inputs = np.repeat(drawn(20, 3)[0], 3, axis=0).astype(np.float32)
    kernel = Kernel(np.ones(3, dtype=np.float32), 1.0, 1.0)
    chosen = pivots(kernel, inputs, 60)
    assert len(np.unique(inputs[chosen], axis=0)) == len(chosen) == 20


def test_few_inducing_examples_are_unsure_rather_than_wrong() -> None:
    learned, unseen = examples(encoding("nas_bench_201"), 80), examples(encoding("nas_bench_201"), 300, seed=4)
    errors = {}
    for inducing in (5, 80):
        model = GaussianProcess(inducing=inducing, iterations=20).fit(learned)
        low, high = model.interval(unseen.matrix)
        assert ((low <= unseen.values) & (unseen.values <= high)).mean() > 0.8
        errors[inducing] = np.abs(np.log(model.predict(unseen.matrix).mean / unseen.values)).mean()
    assert errors[80] <= errors[5] * 1.05


@pytest.mark.parametrize("integers", [False, True])
def test_trees_are_those_of_scikit_learn(integers: bool) -> None:
    inputs, values = drawn(400, 23)
    if integers:
        inputs = (inputs > 0.3).astype(float) + (inputs > 1.2)
        inputs[:, ::2] = inputs[:, ::2] > 0
    forests = [
        HistGradientBoostingRegressor(max_iter=9, max_leaf_nodes=LEAVES, random_state=seed).fit(
            inputs[seed::2], values[seed::2]
        )
        for seed in range(2)
    ]
    trees, unseen = Trees.of(forests), inputs[np.random.default_rng(0).integers(0, 400, 2000)].astype(np.float32)
    each = trees(unseen).reshape(2000, 2, 9).sum(axis=2)
    starts = [float(forest._baseline_prediction.squeeze()) for forest in forests]
    expected = np.stack([forest.predict(unseen) for forest in forests], axis=1)
    np.testing.assert_allclose(each + starts, expected, rtol=1e-4, atol=1e-5)
    again = Trees.restore(trees.arrays())
    np.testing.assert_array_equal(again(unseen), trees(unseen))


def test_a_shift_is_found_where_values_add_up() -> None:
    space = encoding("nas_bench_201")
    parts = examples(space, 200)
    amounts = Standard.of(space.features(parts.matrix))(space.features(parts.matrix))[:, :20].astype(float)
    noise = np.random.default_rng(0).normal(size=200)
    weights = np.random.default_rng(1).normal(size=20)
    ratios = Examples(space, parts.matrix, np.exp(0.3 * amounts @ weights + 0.01 * noise))
    sums = amounts @ np.abs(weights)
    added = Examples(space, parts.matrix, sums - sums.min() + 0.05 + 0.01 * np.abs(noise))
    assert Target.of("log", ratios).shift == 0
    assert Target.of("log", added).shift >= np.median(added.values)


@pytest.mark.parametrize("form", ["log", "linear"])
def test_targets_go_there_and_back(form: str) -> None:
    parts = examples(encoding("nas_bench_201"), 60)
    target = Target.of(form, parts)
    latent = target.latent(parts.values)
    assert latent.mean() == pytest.approx(0, abs=1e-9) and latent.std() == pytest.approx(1)
    np.testing.assert_allclose(target.value(latent), parts.values, rtol=1e-9)
    narrow = target.prediction(latent, np.full(60, 1e-6))
    slope = (target.value(latent + 1e-3) - target.value(latent - 1e-3)) / 2
    np.testing.assert_allclose(narrow.std, slope, rtol=1e-2)
    assert Target.restore(target.arrays()) == target
