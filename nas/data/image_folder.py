"""Own images: one folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field

from nas.data._role import DataError, Dataset, Splits, existing_folder
from nas.data._split import Labelled

SUFFIXES = (".png", ".jpg", ".jpeg")


class ImageFolder(Dataset):
    """Images in FOLDER/CLASS/*.png, .jpg or .jpeg; a class is named as its folder.

    With FOLDER/train/CLASS/... the images are taken from there, and those of FOLDER/test/CLASS/..., if there, are the
    test split. Each image is scaled and cropped at its centre to a square.
    """

    folder: str = Field(strict=True, min_length=1, description="holds one folder per class, or train/ and test/")
    size: int = Field(32, strict=True, ge=4, le=1024, description="height and width in pixels after scaling")
    grayscale: bool = Field(False, strict=True, description="one channel instead of three")
    test: float = Field(0.2, strict=True, gt=0, le=0.4, description="fraction to report on, without test/")

    def load(self) -> Splits:
        """Decode all images."""
        folder = existing_folder(self.folder, f"put images into {self.folder}/CLASS/, one folder per class")
        pool_folder = folder / "train" if (folder / "train").is_dir() else folder
        names = _class_names(pool_folder)
        pool = self._read(pool_folder, names)
        test: Labelled | float = self.test
        if pool_folder != folder and (folder / "test").is_dir():
            _check_test_names(folder / "test", names)
            test = self._read(folder / "test", names)
        return self.split(pool, test, names, 1 / 255, folder)

    def _read(self, folder: Path, names: tuple[str, ...]) -> Labelled:
        """The images of these classes; a class may have no folder here."""
        files = [(path, target) for target, name in enumerate(names) for path in _images_of(folder / name)]
        pixels = np.empty((len(files), 1 if self.grayscale else 3, self.size, self.size), dtype=np.uint8)
        for row, (path, _) in enumerate(files):
            pixels[row] = self._decode(path)
        return Labelled(pixels, np.array([target for _, target in files], dtype=np.int64))

    def _decode(self, path: Path) -> NDArray[np.uint8]:
        """One image as [c size size]."""
        try:
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise DataError(f"{path}: is of mode {image.mode}; save it with 8 bits per channel")
                upright = ImageOps.exif_transpose(image).convert("L" if self.grayscale else "RGB")
                square = ImageOps.fit(upright, (self.size, self.size), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: is no readable image ({error}); replace or remove it") from error
        return np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)


def _class_names(folder: Path) -> tuple[str, ...]:
    """The names of the class folders, in order."""
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not names:
        raise DataError(f"{folder}: holds no class folders; put images into {folder}/CLASS/, one folder per class")
    return names


def _images_of(folder: Path) -> list[Path]:
    """The image files of a class, in order; none where there is no folder.

    Raises:
        DataError: the folder is there but holds no image.
    """
    if not folder.is_dir():
        return []
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise DataError(f"{folder}: this class folder holds no {', '.join(SUFFIXES)} file; add images or remove it")
    return files


def _check_test_names(folder: Path, names: tuple[str, ...]) -> None:
    """Raise if the test folder has a class that is not trained."""
    unknown = sorted(set(_class_names(folder)) - set(names))
    if unknown:
        raise DataError(f"{folder / unknown[0]}: this class has no folder in train/; it has {', '.join(names[:10])}")
