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
from predictors._surrogate import ROWS, Surrogate
from predictors.encodings._role import Encoding, Floats, Genes
from searchspaces.parse import parse

_TINY = 1e-300
_FEW = 2
"""So many models are asked themselves."""
_UNEXPLAINED = 0.01
"""A surrogate speaks for a model where it leaves no more than this share of the variance unexplained."""


@dataclass(frozen=True)
class Sources:
    """Fitted models: some of them asked themselves, each with the part that restores it, the others by a surrogate.

    Attributes:
        logarithmic: whether what they say is taken as a logarithm.
    """

    encoding: Encoding
    logarithmic: bool
    makers: tuple[Predictor, ...]
    models: tuple[Model, ...]
    surrogate: Surrogate | None = None

    @classmethod
    def of(cls, models: Iterable[Model], encoding: Encoding, logarithmic: bool, seed: int = 0) -> Self:
        """The models: a surrogate for those of many that it can speak for, on rows drawn with the seed.

        Raises:
            ValueError: it cannot be told which part a model is of.
        """
        kept = tuple(models)
        surrogate, itself = _surrogate(kept, encoding, logarithmic, seed)
        asked = tuple(model for model, alone in zip(kept, itself, strict=True) if alone)
        return cls(encoding, logarithmic, tuple(map(_maker, asked)), asked, surrogate)

    def __len__(self) -> int:
        """How many speak."""
        return len(self.models) + (0 if self.surrogate is None else len(self.surrogate.centres))

    def predict(self, matrix: Genes) -> Floats:
        """What each says, NaN where it says that a row cannot be run: [n, decisions] -> [n, sources]."""
        said = _said(self.models, matrix, self.logarithmic)
        if self.surrogate is None:
            return said
        return np.concatenate([said, self.surrogate.predict(self.encoding, matrix)], axis=1)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The surrogate's arrays, every other source's behind its number, and their parts as a JSON text."""
        found: dict[str, npt.NDArray[np.generic]] = {
            "makers": np.asarray(json.dumps([maker.describe() for maker in self.makers]))
        }
        for number, model in enumerate(self.models):
            found |= nested(str(number), model.arrays())
        return found if self.surrogate is None else found | nested("surrogate", self.surrogate.arrays())

    @classmethod
    def restore(cls, encoding: Encoding, logarithmic: bool, arrays: Arrays) -> Self:
        """From `arrays()`."""
        makers = tuple(parse(Predictor, part) for part in json.loads(str(arrays["makers"])))
        models = tuple(maker.restore(encoding, inner(str(number), arrays)) for number, maker in enumerate(makers))
        own = inner("surrogate", arrays)
        return cls(encoding, logarithmic, makers, models, Surrogate.restore(own) if own else None)


def _surrogate(
    models: tuple[Model, ...], encoding: Encoding, logarithmic: bool, seed: int
) -> tuple[Surrogate | None, npt.NDArray[np.bool_]]:
    """A surrogate, and which models it does not speak for."""
    if len(models) <= _FEW:
        return None, np.ones(len(models), dtype=bool)
    matrix = encoding.sample(np.random.default_rng(seed), ROWS)
    said = _said(models, matrix, logarithmic)
    spoken = np.asarray(np.isfinite(said).all(axis=0))
    if not spoken.any():
        return None, ~spoken
    found = Surrogate.of(encoding, matrix, said[:, spoken])
    faithful = found.errors <= _UNEXPLAINED
    spoken[spoken] = faithful
    return (found.subset(faithful) if faithful.any() else None), ~spoken


def _said(models: tuple[Model, ...], matrix: Genes, logarithmic: bool) -> Floats:
    """What each model says, or its logarithm: [n, decisions] -> [n, models]."""
    if not models:
        return np.empty((len(matrix), 0))
    said = np.stack([model.predict(matrix).mean for model in models], axis=1)
    said = np.where(np.isfinite(said), said, np.nan)
    return np.log(np.maximum(said, _TINY)) if logarithmic else said


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
