"""IDX files, the form of MNIST and of the sets made in its likeness (Fashion-MNIST, KMNIST ...)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.data._role import DataError, Dataset, Splits, existing_folder
from nas.data._split import Labelled, relabel

UNSIGNED_BYTES = 8
"""The type code in byte 2 of an IDX file."""


class Idx(Dataset):
    """MNIST, Fashion-MNIST and their kin: grey images in IDX files, plain or gzipped.

    `folder` holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    t10k-labels-idx1-ubyte, each with or without `.gz`. Labels may be any numbers; they are the class names.
    """

    folder: str = Field(strict=True, min_length=1, description="where the IDX files are")

    def load(self) -> Splits:
        """Read the four files; the t10k images are the test split."""
        folder = existing_folder(self.folder, self._mend())
        train, test = self._read_pair(folder, "train"), self._read_pair(folder, "t10k")
        if train.pixels.shape[1:] != test.pixels.shape[1:]:
            raise DataError(
                f"{folder}: training images are {train.pixels.shape[2:]}, test images {test.pixels.shape[2:]} pixels; "
                "put the files of one data set into this folder"
            )
        train_targets, test_targets, names = relabel(train.targets, test.targets, folder)
        assert test_targets is not None
        return self.split(
            Labelled(train.pixels, train_targets), Labelled(test.pixels, test_targets), names, 1 / 255, folder
        )

    def _mend(self) -> str:
        """What belongs into the folder."""
        return (
            "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
            f"(each may end in .gz) into {self.folder} (nothing is downloaded)"
        )

    def _read_pair(self, folder: Path, prefix: str) -> Labelled:
        """The images and labels whose files begin with this prefix."""
        images_path = self._find(folder, f"{prefix}-images-idx3-ubyte")
        labels_path = self._find(folder, f"{prefix}-labels-idx1-ubyte")
        images, labels = self._read(images_path, axes=3), self._read(labels_path, axes=1)
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: {len(labels)} labels for {len(images)} images in {images_path}; {self._mend()}"
            )
        return Labelled(images[:, None], labels.astype(np.int64))

    def _find(self, folder: Path, name: str) -> Path:
        """The file of that name, plain or gzipped; some copies write `.idx3` for `-idx3`."""
        for candidate in (name, name.replace("-idx", ".idx")):
            for path in (folder / candidate, folder / f"{candidate}.gz"):
                if path.is_file():
                    return path
        raise DataError(f"{folder / name}: this file is missing; {self._mend()}")

    def _read(self, path: Path, axes: int) -> NDArray[np.uint8]:
        """The array of an IDX file: two zero bytes, type, number of axes, lengths (big-endian), values."""
        content = self._content(path)
        header = 4 + 4 * axes
        if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTES, axes)):
            raise DataError(
                f"{path}: does not begin like an IDX file of unsigned bytes with {axes} axes; {self._mend()}"
            )
        shape = tuple(int(length) for length in np.frombuffer(content[4:header], dtype=">u4"))
        expected = header + int(np.prod(shape, dtype=object))
        if len(content) != expected or not all(shape):
            raise DataError(
                f"{path}: {len(content)} bytes where its header, of shape {shape}, calls for {expected}; "
                f"the file is empty, truncated or damaged; {self._mend()}"
            )
        return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)

    def _content(self, path: Path) -> bytes:
        """The bytes of the file, unpacked."""
        if path.suffix != ".gz":
            return path.read_bytes()
        try:
            return gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: cannot be unpacked ({error}), so it is truncated or damaged; {self._mend()}"
            ) from error
