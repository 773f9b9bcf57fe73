"""Fitted predictors as files: npz archives of plain arrays, nothing pickled."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from predictors._arrays import inner, nested
from predictors._role import Arrays, Model, Prediction, Predictor
from predictors.encodings._role import Encoding, Floats, Genes
from searchspaces.parse import parse

_FORMAT = "predictor:1"


class PredictorFileError(ValueError):
    """A file holds no predictor of this space; the message names the file and what is wrong."""


def save(path: Path, predictor: Predictor, model: Model, encoding: Encoding) -> None:
    """Writes a model of a space with the description of what fitted it; the file is whole or it is not there."""
    texts = {"format": _FORMAT, "predictor": json.dumps(predictor.describe()), "encoding": encoding.signature}
    arrays = {**{key: np.asarray(value) for key, value in texts.items()}, **nested("model", model.arrays())}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path, encoding: Encoding) -> tuple[Predictor, Model]:
    """The predictor and its model.

    Raises:
        FileNotFoundError: there is no such file.
        PredictorFileError: it is damaged, of another kind, or was fitted on another space.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        found, description, signature = (str(arrays[key]) for key in ("format", "predictor", "encoding"))
        described = json.loads(description)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise PredictorFileError(f"{path} is damaged or no predictor: {error}") from error
    if found != _FORMAT:
        raise PredictorFileError(f"{path} has the format {found!r}; this version reads {_FORMAT!r}")
    if signature != encoding.signature:
        raise PredictorFileError(f"{path} was fitted on another space or table: {signature}, not {encoding.signature}")
    predictor = parse(Predictor, described, at=("predictor",))
    try:
        return predictor, predictor.restore(encoding, inner("model", arrays))
    except (KeyError, IndexError, TypeError) as error:
        raise PredictorFileError(f"{path} lacks what {predictor.kind()} needs: {error!r}") from error


class Restored(Model):
    """A model that knows which predictor restores it, so that it can be kept inside another one."""

    def __init__(self, predictor: Predictor, model: Model) -> None:
        self.predictor, self.model = predictor, model

    def predict(self, matrix: Genes) -> Prediction:
        """As the model has it: [n, decisions] -> [n] and [n]."""
        return self.model.predict(matrix)

    def interval(self, matrix: Genes, level: float = 0.9) -> tuple[Floats, Floats]:
        """As the model has it."""
        return self.model.interval(matrix, level)

    def arrays(self) -> Arrays:
        """Those of the model."""
        return self.model.arrays()
