"""Models of other devices, kept inside the model that learned from them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from predictors._arrays import inner, nested
from predictors._role import Arrays, Model, Predictor
from predictors.encodings._role import Encoding, Floats, Genes
from searchspaces.parse import parse

_TINY = 1e-300


@dataclass(frozen=True)
class Sources:
    """Fitted models, each with the part that restores it."""

    makers: tuple[Predictor, ...]
    models: tuple[Model, ...]

    @classmethod
    def of(cls, models: Iterable[Model]) -> Self:
        """The models with their parts.

        Raises:
            ValueError: it cannot be told which part a model is of.
        """
        kept = tuple(models)
        return cls(tuple(_maker(model) for model in kept), kept)

    def predict(self, matrix: Genes, logarithmic: bool) -> Floats:
        """What each source says, NaN where it says that a row cannot be run: [n, decisions] -> [n, sources]."""
        if not self.models:
            return np.empty((len(matrix), 0))
        said = np.stack([model.predict(matrix).mean for model in self.models], axis=1)
        said = np.where(np.isfinite(said), said, np.nan)
        return np.log(np.maximum(said, _TINY)) if logarithmic else said

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every source's arrays behind its number, and their parts as a JSON text."""
        found: dict[str, npt.NDArray[np.generic]] = {
            "makers": np.asarray(json.dumps([maker.describe() for maker in self.makers]))
        }
        for number, model in enumerate(self.models):
            found |= nested(str(number), model.arrays())
        return found

    @classmethod
    def restore(cls, encoding: Encoding, arrays: Arrays) -> Self:
        """From `arrays()`."""
        makers = tuple(parse(Predictor, part) for part in json.loads(str(arrays["makers"])))
        models = (maker.restore(encoding, inner(str(number), arrays)) for number, maker in enumerate(makers))
        return cls(makers, tuple(models))


def _maker(model: Model) -> Predictor:
    """The part that a model names in its attribute `predictor`, or else that of its file with default settings."""
    named = getattr(model, "predictor", None)
    if isinstance(named, Predictor):
        return named
    module = sys.modules[type(model).__module__]
    parts = [part for part in vars(module).values() if isinstance(part, type) and issubclass(part, Predictor)]
    own = [part for part in parts if part.__module__ == module.__name__]
    if len(own) != 1:
        raise ValueError(f"{type(model).__name__} does not say which predictor restores it")
    return own[0]()
