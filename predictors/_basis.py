"""A finite basis of the Gaussian process's kernel, by inducing examples (Quinonero-Candela and Rasmussen 2005)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from predictors._arrays import inner, nested
from predictors._kernel import Kernel, pivots
from predictors._regression import Singles
from predictors._role import Arrays
from predictors.encodings._role import Floats


class Basis:
    """Functions whose products add up to the kernel: one for each input, and one for each inducing example."""

    def __init__(self, kernel: Kernel, inducing: Singles, whitening: Singles) -> None:
        self.kernel, self.inducing, self.whitening = kernel, inducing, whitening
        self.scaled = inducing * kernel.root
        self.slope = np.float32(np.sqrt(kernel.linear / max(inducing.shape[1], 1)))

    @classmethod
    def of(cls, kernel: Kernel, inputs: Singles, count: int) -> Basis:
        """That of the examples' inputs [n, d]."""
        inducing = inputs[pivots(kernel, inputs, min(count, len(inputs)))]
        scaled = inducing * kernel.root
        among = kernel.cross(scaled, scaled).astype(float) + 1e-5 * np.eye(len(inducing))
        inverse = solve_triangular(cholesky(among, lower=True), np.eye(len(inducing)), lower=True)
        return cls(kernel, inducing, (np.sqrt(kernel.smooth) * inverse.T).astype(np.float32))

    def __call__(self, inputs: Singles) -> Singles:
        """[n, d] -> [n, d + m]."""
        near = self.kernel.cross(inputs * self.kernel.root, self.scaled)
        return np.concatenate([inputs * self.slope, near @ self.whitening], axis=1)

    def prior(self, inputs: Singles) -> Floats:
        """The kernel's variance at each input: [n, d] -> [n]."""
        squares = np.einsum("ij,ij->i", inputs, inputs).astype(float)
        return self.kernel.smooth + float(self.slope) ** 2 * squares

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        return nested("kernel", self.kernel.arrays()) | {"inducing": self.inducing, "whitening": self.whitening}

    @classmethod
    def restore(cls, arrays: Arrays) -> Basis:
        """From `arrays()`."""
        inducing, whitening = (np.asarray(arrays[name], dtype=np.float32) for name in ("inducing", "whitening"))
        return cls(Kernel.restore(inner("kernel", arrays)), inducing, whitening)
