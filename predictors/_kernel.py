"""The kernel of `gaussian_process`, and its hyper-parameters of greatest posterior density."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from predictors._role import Arrays
from predictors.encodings._role import Floats

_JITTER = 1e-6
_WHOLE = 2048
"""Examples up to which all kernel values are computed at once."""
_DEVIATION = 1.5
"""Prior deviation of the logarithm of each relevance, about 1 / d."""


@dataclass(frozen=True)
class Kernel:
    """linear * x @ x' / d + smooth * exp(-sum(relevance * (x - x')^2) / 2): a trend, and what departs from it.

    The second term is the squared exponential with automatic relevance determination (Rasmussen and Williams 2006,
    equation 5.1).
    """

    relevance: npt.NDArray[np.float32]
    linear: float
    smooth: float

    def cross(self, first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The smooth term over its amplitude, for inputs already times `root`: [n, d], [m, d] -> [n, m]."""
        near = first @ second.T
        near -= np.einsum("ij,ij->i", first, first)[:, None] / 2
        near -= np.einsum("ij,ij->i", second, second) / 2
        return np.exp(np.minimum(near, 0, out=near), out=near)

    @property
    def root(self) -> npt.NDArray[np.float32]:
        """Square roots of the relevances [d]."""
        return np.sqrt(self.relevance)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Kernel:
        """From `arrays()`."""
        linear, smooth = (float(np.asarray(arrays[name], dtype=float)) for name in ("linear", "smooth"))
        return cls(np.asarray(arrays["relevance"], dtype=np.float32), linear, smooth)


def learned(inputs: Floats, values: Floats, iterations: int) -> tuple[Kernel, float]:
    """The kernel and the noise variance of standardized inputs [n, d] and values [n], by L-BFGS from a plain start."""
    d = inputs.shape[1]
    start = np.concatenate([np.full(d, -np.log(max(d, 1))), [0.0, 0.0, np.log(0.01)]])
    bounds = [(-12.0, 3.0)] * d + [(-8.0, 6.0)] * 2 + [(-14.0, 1.0)]
    found = minimize(
        _energy, start, (inputs, values), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": iterations}
    ).x
    linear, smooth, noise = (float(value) for value in np.exp(found[d:]))
    return Kernel(np.exp(found[:d]).astype(np.float32), linear, smooth), noise


def _energy(logs: Floats, inputs: Floats, values: Floats) -> tuple[float, Floats]:
    """The negative log posterior density of log hyper-parameters and its gradient (equations 5.8 and 5.9)."""
    n, d = inputs.shape
    relevance, (linear, smooth, noise) = np.exp(logs[:d]), np.exp(logs[d:])
    trend, near = inputs @ inputs.T / max(d, 1), _near(inputs * np.sqrt(relevance))
    covariance = linear * trend + smooth * near
    covariance[np.diag_indices(n)] += noise + _JITTER
    try:
        factor = cho_factor(covariance, lower=True)
    except LinAlgError:
        return 1e12, np.zeros_like(logs)
    solved = cho_solve(factor, values)
    slopes = np.outer(solved, solved) - cho_solve(factor, np.eye(n))
    pulled = slopes * near * smooth
    squares = 2 * (pulled.sum(axis=1) @ inputs**2) - 2 * (inputs * (pulled @ inputs)).sum(axis=0)
    away = (logs[:d] + np.log(max(d, 1))) / _DEVIATION
    energy = values @ solved / 2 + np.log(np.diag(factor[0])).sum() + away @ away / 2
    amplitudes = [(slopes * trend).sum() * linear, pulled.sum(), np.trace(slopes) * noise]
    return float(energy), np.concatenate([relevance * squares / 4 + away / _DEVIATION, -np.array(amplitudes) / 2])


def _near(inputs: Floats) -> Floats:
    """exp(-|x - x'|^2 / 2): [n, d] -> [n, n]."""
    squares = (inputs**2).sum(axis=1)
    near: Floats = np.exp(np.minimum(inputs @ inputs.T - (squares[:, None] + squares) / 2, 0.0))
    return near


def pivots(kernel: Kernel, inputs: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Examples that together say most of the smooth term, each the one of greatest variance given those before.

    This is Cholesky factorization with complete pivoting (Fine and Scheinberg 2001).
    """
    scaled = inputs * kernel.root
    near = kernel.cross(scaled, scaled) if len(inputs) <= _WHOLE else None
    left, factor = np.ones(len(inputs)), np.zeros((len(inputs), count))
    chosen: list[int] = []
    while len(chosen) < count and left.max() > _JITTER:
        pivot, step = int(left.argmax()), len(chosen)
        own = kernel.cross(scaled, scaled[pivot : pivot + 1])[:, 0] if near is None else near[pivot]
        column = own - factor[:, :step] @ factor[pivot, :step]
        factor[:, step] = column / np.sqrt(left[pivot])
        left = np.maximum(left - factor[:, step] ** 2, 0.0)
        left[pivot] = 0.0
        chosen.append(pivot)
    return np.array(chosen, dtype=np.int64)
