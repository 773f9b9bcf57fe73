"""CIFAR's binary files: records and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nas.data.cifar import Cifar

RNG = np.random.default_rng(0)


def write_cifar(folder: Path, classes: int, records: int = 20) -> None:
    folder.mkdir(exist_ok=True)
    train = [f"data_batch_{number}.bin" for number in range(1, 6)] if classes == 10 else ["train.bin"]
    records = records if classes == 10 else 300
    for name in [*train, "test_batch.bin" if classes == 10 else "test.bin"]:
        content = RNG.integers(0, 256, (records, 3072 + (1 if classes == 10 else 2)), dtype=np.uint8)
        content[:, -3073] = np.arange(records) % classes
        content.tofile(folder / name)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_reads_train_and_test_files(tmp_path: Path, classes: int, check_splits: Callable[..., None]) -> None:
    write_cifar(tmp_path, classes)
    splits = Cifar(folder=str(tmp_path), classes=classes).load()
    assert splits.shape == (3, 32, 32) and splits.classes == classes
    test = np.fromfile(tmp_path / ("test_batch.bin" if classes == 10 else "test.bin"), dtype=np.uint8)
    record = test.reshape(-1, 3073 if classes == 10 else 3074)[7]
    assert_array_equal(splits.test.pixels[7].reshape(-1), record[-3072:])
    assert splits.test.targets[7] == 7
    assert len(splits.train) + len(splits.validation) == (100 if classes == 10 else 300)
    check_splits(splits)


def test_cifar_takes_class_names_from_the_folder(tmp_path: Path, refused: Callable[..., None]) -> None:
    write_cifar(tmp_path, 10)
    assert Cifar(folder=str(tmp_path)).load().class_names[:2] == ("0", "1")
    (tmp_path / "batches.meta.txt").write_text("\n".join(f"thing {number}" for number in range(10)) + "\n\n")
    assert Cifar(folder=str(tmp_path)).load().class_names[9] == "thing 9"
    (tmp_path / "batches.meta.txt").write_text("one\ntwo\n")
    refused(Cifar(folder=str(tmp_path)), tmp_path / "batches.meta.txt", "2 names for 10 classes", "or remove")


def test_cifar_says_what_is_wrong(tmp_path: Path, refused: Callable[..., None]) -> None:
    folder = tmp_path / "cifar"
    part = Cifar(folder=str(folder))
    put = f"put data_batch_1.bin to data_batch_5.bin and test_batch.bin of the CIFAR-10 binary version into {folder}"
    refused(part, folder, "does not exist", put)
    write_cifar(folder, 10)
    (folder / "data_batch_3.bin").rename(folder / "away")
    refused(part, folder / "data_batch_3.bin", "is missing", put)
    (folder / "data_batch_3.bin").write_bytes((folder / "away").read_bytes()[:-5])
    refused(part, folder / "data_batch_3.bin", "not a whole number of 3073-byte records", "truncated", put)
    (folder / "data_batch_3.bin").write_bytes(b"")
    refused(part, folder / "data_batch_3.bin", "0 bytes", put)
    (folder / "data_batch_3.bin").write_bytes(bytes([77]) + bytes(3072))
    refused(part, folder / "data_batch_3.bin", "label 77 is not below 10", put)
    refused(Cifar(folder=str(folder), classes=100), folder / "train.bin", "is missing", "put train.bin and test.bin")


def test_the_seed_decides_what_validates_and_leaves_the_published_test_split(tmp_path: Path) -> None:
    write_cifar(tmp_path, 10)
    first, again, other = (Cifar(folder=str(tmp_path), seed=seed).load() for seed in (0, 0, 1))
    assert_array_equal(first.validation.pixels, again.validation.pixels)
    assert (first.validation.pixels != other.validation.pixels).any()
    assert_array_equal(first.test.pixels, other.test.pixels)
