"""Surrogate: what many models of one space say, learned by one model with as many outputs.

Who leans on twenty models would otherwise ask twenty for each row. What they say is free of noise and costs nothing but
time, so a few thousand rows of the space teach a kernel regression all of it at once (Rasmussen and Williams 2006,
equation 2.25, on inducing examples), and from then on a row costs one model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictors._arrays import inner, nested
from predictors._basis import Basis
from predictors._kernel import learned
from predictors._regression import Singles, Standard, cross_validated
from predictors._role import Arrays
from predictors.encodings._role import Encoding, Floats, Genes

ROWS = 4096
"""Rows of the space that teach a surrogate."""
_INDUCING, _OPTIMIZED, _ITERATIONS = 384, 400, 30


class Surrogate:
    """Several outputs, each linear in the basis of one kernel.

    Attributes:
        centres: of the outputs [k].
        errors: for each output the share of its variance that is not explained on rows not shown [k].
    """

    def __init__(self, standard: Standard, basis: Basis, weights: Singles, centres: Floats, errors: Floats) -> None:
        self.standard, self.basis, self.weights = standard, basis, weights
        self.centres, self.errors = centres, errors
        d = basis.inducing.shape[1]
        self._of_inputs = weights[:d] * basis.slope
        self._of_near = basis.whitening @ weights[d:]

    @classmethod
    def of(cls, encoding: Encoding, matrix: Genes, outputs: Floats) -> Surrogate:
        """The surrogate of outputs [n, k] at rows [n, decisions], all with the kernel that suits their mean."""
        features = encoding.features(matrix)
        standard = Standard.of(features)
        inputs, centres = standard(features), outputs.mean(axis=0)
        scales = np.maximum(outputs.std(axis=0), 1e-12)
        values = (outputs - centres) / scales
        typical = values.mean(axis=1) / max(float(values.mean(axis=1).std()), 1e-12)
        kernel, _ = learned(inputs[:_OPTIMIZED].astype(float), typical[:_OPTIMIZED], _ITERATIONS)
        basis = Basis.of(kernel, inputs, _INDUCING)
        shown = basis(inputs).astype(float)
        strengths, errors = cross_validated(shown, values)
        left, sizes, right = np.linalg.svd(shown, full_matrices=False)
        weights = right.T @ (sizes[:, None] / (sizes[:, None] ** 2 + strengths) * (left.T @ values)) * scales
        return cls(standard, basis, weights.astype(np.float32), centres, errors)

    def subset(self, kept: npt.NDArray[np.bool_]) -> Surrogate:
        """The surrogate of some of the outputs."""
        return Surrogate(self.standard, self.basis, self.weights[:, kept], self.centres[kept], self.errors[kept])

    def predict(self, encoding: Encoding, matrix: Genes) -> Floats:
        """The outputs of each row: [n, decisions] -> [n, k]."""
        inputs = self.standard(encoding.features(matrix))
        near = self.basis.kernel.cross(inputs * self.basis.kernel.root, self.basis.scaled)
        return np.asarray(inputs @ self._of_inputs + near @ self._of_near, dtype=float) + self.centres

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As plain arrays."""
        own: dict[str, npt.NDArray[np.generic]] = {"weights": self.weights, "centres": self.centres}
        own["errors"] = self.errors
        return own | nested("standard", self.standard.arrays()) | nested("basis", self.basis.arrays())

    @classmethod
    def restore(cls, arrays: Arrays) -> Surrogate:
        """From `arrays()`."""
        standard, basis = Standard.restore(inner("standard", arrays)), Basis.restore(inner("basis", arrays))
        centres, errors = (np.asarray(arrays[name], dtype=float) for name in ("centres", "errors"))
        return cls(standard, basis, np.asarray(arrays["weights"], dtype=np.float32), centres, errors)
