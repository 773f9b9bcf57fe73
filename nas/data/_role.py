"""Dataset: labelled images, split into what trains, what the search judges by and what is reported on."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from pydantic import Field

from nas.data._images import Batch, DataError, Images, Splits, Standardization
from nas.data._split import Labelled, cut, make_splits
from searchspaces.part import Part

__all__ = ["Batch", "DataError", "Dataset", "Images", "Splits", "Standardization", "existing_folder"]


class Dataset(Part):
    """Labelled images from a local place; nothing is ever downloaded.

    The same fields give the same splits, image by image. A published test set is the test split; where there is
    none, a stratified part of the images is (the field `test` of such data sets).
    """

    seed: int = Field(0, strict=True, ge=0, description="draws the splits")
    validation: float = Field(
        0.15, strict=True, gt=0, le=0.4, description="fraction of the images that the search judges by"
    )
    calibration: int = Field(
        256, strict=True, ge=1, description="training images at most that set statistics and ranges"
    )

    @abstractmethod
    def load(self) -> Splits:
        """Read the images and split them.

        Raises:
            DataError: a file is missing, truncated or not of the expected form.
        """

    def split(
        self, pool: Labelled, test: Labelled | float, class_names: tuple[str, ...], scale: float, source: object
    ) -> Splits:
        """The pool, split by this part's fields; `test` is a published test set or a fraction of the pool."""
        if isinstance(test, Labelled):
            validation, train = cut(pool, (self.validation,), self.seed, source)
        else:
            test, validation, train = cut(pool, (test, self.validation), self.seed, source)
        return make_splits(train, validation, test, class_names, scale, self.calibration, source)


def existing_folder(folder: str, mend: str) -> Path:
    """The folder as a path, `~` expanded.

    Raises:
        DataError: it does not exist or is no folder; `mend` says what to do.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"{path}: this data folder {state}; {mend}")
    return path
