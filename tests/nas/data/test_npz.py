"""NumPy files: layouts, types and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nas.data.npz import Npz

RNG = np.random.default_rng(0)


def write_npz(path: Path, **arrays: Any) -> Npz:
    np.savez(path, **arrays)
    return Npz(file=str(path))


@pytest.mark.parametrize(
    ("stored", "shape"), [((6, 5), (1, 6, 5)), ((2, 6, 5), (2, 6, 5)), ((6, 5, 3), (3, 6, 5)), ((3, 3, 3), (3, 3, 3))]
)
def test_npz_reads_all_layouts(
    tmp_path: Path, stored: tuple[int, ...], shape: tuple[int, ...], check_splits: Callable[..., None]
) -> None:
    x = RNG.integers(0, 256, (40, *stored), dtype=np.uint8)
    splits = write_npz(tmp_path / "a.npz", x=x, y=np.arange(40) % 4).load()
    assert splits.shape == shape
    check_splits(splits)


def test_npz_channels_last_keeps_each_pixel_in_place(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    splits = write_npz(tmp_path / "a.npz", x=x, y=np.arange(40) % 4).load()
    known = {image.transpose(2, 0, 1).tobytes() for image in x}
    assert {image.tobytes() for image in splits.train.pixels} < known


def test_npz_labels_are_class_names_and_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    x = RNG.standard_normal((40, 6, 6))
    splits = write_npz(tmp_path / "a.npz", x=x, y=np.where(np.arange(40) % 2, 30, -7)).load()
    assert splits.class_names == ("-7", "30")
    assert splits.standardization.scale == 1.0 and splits.train.pixels.dtype == np.float32


def test_npz_takes_test_arrays_as_the_test_split(tmp_path: Path) -> None:
    x, x_test = RNG.integers(0, 256, (40, 6, 6), dtype=np.uint8), RNG.integers(0, 256, (8, 6, 6), dtype=np.uint8)
    part = write_npz(tmp_path / "a.npz", x_train=x, y_train=np.arange(40) % 4, x_test=x_test, y_test=np.arange(8) % 4)
    assert_array_equal(part.load().test.pixels[:, 0], x_test)


X, Y = np.zeros((20, 4, 4), dtype=np.uint8), np.arange(20) % 2


@pytest.mark.parametrize(
    ("arrays", "texts"),
    [
        ({"images": X, "y": Y}, ("holds the arrays images, y", "numpy.savez")),
        ({}, ("holds the arrays (none)", "numpy.savez")),
        ({"x": X, "y": Y[:, None]}, ("y is int64 of shape (20, 1)", "labels [n]")),
        ({"x": X, "y": Y / 2}, ("y is float64", "labels [n]")),
        ({"x": X, "y": Y[:5]}, ("x holds 20 images, y 5 labels", "savez")),
        ({"x": X[:, 0], "y": Y}, ("x has shape (20, 4)", "images [n h w]")),
        ({"x": X.astype(np.int32), "y": Y}, ("x is int32, not uint8 or floating point",)),
        ({"x": np.full((20, 4, 4), np.nan), "y": Y}, ("x holds values that are not finite", "remove or replace")),
        ({"x": X, "y": Y.astype(object)}, ("pickled objects", "savez")),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y},
            ("(1, 4, 4)", "(1, 3, 4)", "same type and shape"),
        ),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 5}, ("test labels [5, 6]", "same labels")),
    ],
)
def test_npz_says_what_is_wrong(
    tmp_path: Path, arrays: dict[str, Any], texts: tuple[str, ...], refused: Callable[..., None]
) -> None:
    path = tmp_path / "a.npz"
    refused(write_npz(path, **arrays), path, *texts)


def test_npz_that_is_missing_pickled_or_truncated_is_refused(tmp_path: Path, refused: Callable[..., None]) -> None:
    path = tmp_path / "a.npz"
    refused(Npz(file=str(path)), path, "is missing", "numpy.savez")
    np.asarray([{}], dtype=object).dump(path)
    refused(Npz(file=str(path)), path, "is not an .npz file", "numpy.savez")
    np.savez_compressed(path, x=RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8), y=Y)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(Npz(file=str(path)), path, "is not an .npz file, or is truncated", "numpy.savez")
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    refused(Npz(file=str(path)), path, "cannot be read", "numpy.savez")
