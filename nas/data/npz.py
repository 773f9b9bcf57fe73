"""Arrays in one NumPy file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.data._images import Pixels
from nas.data._role import DataError, Dataset, Splits
from nas.data._split import Labelled, relabel

MEND = (
    "save it by numpy.savez(path, x=images, y=labels), or with x_train, y_train, x_test, y_test: "
    "images [n h w], [n c h w] or [n h w c] (c at most 4) as uint8 or float, labels [n] as integers"
)


class Npz(Dataset):
    """Images and labels from an .npz file: arrays x and y, or x_train, y_train, x_test and y_test.

    Images are [n h w], [n c h w] or, where only the last axis is at most 4 long, [n h w c]; uint8 is scaled to [0, 1],
    floating point is taken as it is. Labels may be any integers; they are the class names. Nothing pickled is read.
    """

    file: str = Field(strict=True, min_length=1, description="the .npz file")
    test: float = Field(0.2, strict=True, gt=0, le=0.4, description="fraction to report on, without x_test and y_test")

    def load(self) -> Splits:
        """Read the arrays; x_test and y_test, if there, are the test split."""
        path = Path(self.file).expanduser()
        arrays = _read(path)
        given = sorted(arrays)
        if set(given) == {"x", "y"}:
            train, test = _labelled(path, arrays, "x", "y"), None
        elif set(given) == {"x_train", "y_train", "x_test", "y_test"}:
            train, test = _labelled(path, arrays, "x_train", "y_train"), _labelled(path, arrays, "x_test", "y_test")
        else:
            raise DataError(f"{path}: holds the arrays {', '.join(given) or '(none)'}; {MEND}")
        return self._split(train, test, path)

    def _split(self, train: Labelled, test: Labelled | None, path: Path) -> Splits:
        """The splits of these images, with labels made class indices."""
        if test is not None and (train.pixels.shape[1:], train.pixels.dtype) != (
            test.pixels.shape[1:],
            test.pixels.dtype,
        ):
            raise DataError(
                f"{path}: x_train holds {train.pixels.dtype} images of shape {train.pixels.shape[1:]}, x_test "
                f"{test.pixels.dtype} of {test.pixels.shape[1:]}; give both the same type and shape"
            )
        targets, test_targets, names = relabel(train.targets, None if test is None else test.targets, path)
        pool = Labelled(train.pixels, targets)
        published = self.test if test is None or test_targets is None else Labelled(test.pixels, test_targets)
        return self.split(pool, published, names, 1 / 255 if train.pixels.dtype == np.uint8 else 1.0, path)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of the file, none of them unpickled."""
    if not path.is_file():
        raise DataError(f"{path}: this file is missing; {MEND}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: is not an .npz file, or is truncated; {MEND}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path}: holds pickled objects, which are not read as they can run code; {MEND}"
            ) from error
        raise DataError(f"{path}: cannot be read ({error}); {MEND}") from error


def _labelled(path: Path, arrays: dict[str, NDArray[np.generic]], x: str, y: str) -> Labelled:
    """The images and labels of these names, checked."""
    labels = arrays[y]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: {y} is {labels.dtype} of shape {labels.shape}, not integers [n]; {MEND}")
    if len(labels) != len(arrays[x]) or not len(labels):
        raise DataError(f"{path}: {x} holds {len(arrays[x])} images, {y} {len(labels)} labels; {MEND}")
    return Labelled(_pixels(path, x, arrays[x]), labels.astype(np.int64))


def _pixels(path: Path, name: str, images: NDArray[np.generic]) -> Pixels:
    """The images as uint8 or finite float32 [n c h w]."""
    if images.ndim not in (3, 4) or not images.size:
        raise DataError(f"{path}: {name} has shape {images.shape}, which is not that of images; {MEND}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] <= 4 < images.shape[1]:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images, dtype=np.uint8)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{path}: {name} is {images.dtype}, not uint8 or floating point; {MEND}")
    pixels = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: {name} holds values that are not finite float32 numbers; remove or replace them")
    return pixels
