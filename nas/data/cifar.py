"""CIFAR-10 and CIFAR-100 in their binary form, from a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from nas.data._role import DataError, Dataset, Splits, existing_folder
from nas.data._split import Labelled

IMAGE_BYTES = 3 * 32 * 32
FILES = {
    10: (tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
    100: (("train.bin",), "test.bin", "fine_label_names.txt"),
}
"""Per number of classes: training files, test file, file of class names (which may be absent)."""


class Cifar(Dataset):
    """CIFAR-10, or CIFAR-100 with its fine labels: colour images of 32 x 32 pixels (Krizhevsky, 2009).

    `folder` holds the files of the binary version; the pickled "python version" is not read.
    """

    folder: str = Field(strict=True, min_length=1, description="where the .bin files are")
    classes: Literal[10, 100] = 10

    def load(self) -> Splits:
        """Read all files; the published test file is the test split."""
        train_files, test_file, names_file = FILES[self.classes]
        folder = existing_folder(self.folder, self._mend())
        parts = [self._read(folder / name) for name in train_files]
        pool = Labelled(
            np.concatenate([part.pixels for part in parts]), np.concatenate([part.targets for part in parts])
        )
        names = self._class_names(folder / names_file)
        return self.split(pool, self._read(folder / test_file), names, 1 / 255, folder)

    def _mend(self) -> str:
        """What belongs into the folder."""
        train_files, test_file, _ = FILES[self.classes]
        first = f"{train_files[0]} to {train_files[-1]}" if len(train_files) > 1 else train_files[0]
        return (
            f"put {first} and {test_file} of the CIFAR-{self.classes} binary version into {self.folder} "
            "(nothing is downloaded; the pickled python version is not read)"
        )

    def _read(self, path: Path) -> Labelled:
        """The images and labels of one file: records of label bytes (CIFAR-100: coarse, fine) and 3072 pixels."""
        if not path.is_file():
            raise DataError(f"{path}: this file is missing; {self._mend()}")
        content = np.fromfile(path, dtype=np.uint8)
        record = IMAGE_BYTES + (1 if self.classes == 10 else 2)
        if not content.size or content.size % record:
            raise DataError(
                f"{path}: {content.size} bytes are not a whole number of {record}-byte records, so the file is "
                f"truncated or not CIFAR-{self.classes}; {self._mend()}"
            )
        records = content.reshape(-1, record)
        targets = records[:, -IMAGE_BYTES - 1].astype(np.int64)
        if targets.max() >= self.classes:
            raise DataError(f"{path}: label {targets.max()} is not below {self.classes}; {self._mend()}")
        return Labelled(records[:, -IMAGE_BYTES:].reshape(-1, 3, 32, 32), targets)

    def _class_names(self, path: Path) -> tuple[str, ...]:
        """The lines of the file of names, or numbers where there is no such file."""
        if not path.is_file():
            return tuple(str(number) for number in range(self.classes))
        names = tuple(line for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
        if len(names) != self.classes:
            raise DataError(
                f"{path}: {len(names)} names for {self.classes} classes; give one name per line, or remove the file"
            )
        return tuple(name.strip() for name in names)
