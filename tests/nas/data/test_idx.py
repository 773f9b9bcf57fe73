"""IDX files: headers, packing and messages."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.idx import Idx

RNG = np.random.default_rng(0)


def idx_bytes(values: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + np.array(values.shape, dtype=">u4").tobytes() + values.tobytes()


def write_idx(folder: Path, pack: Callable[[bytes], bytes] = bytes, end: str = "", first: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = RNG.integers(0, 256, (count, 6, 5), dtype=np.uint8)
        labels = (np.arange(count) % 4 + first).astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte{end}").write_bytes(pack(idx_bytes(images)))
        (folder / f"{prefix}-labels-idx1-ubyte{end}").write_bytes(pack(idx_bytes(labels)))


@pytest.mark.parametrize(("pack", "end"), [(bytes, ""), (gzip.compress, ".gz")])
def test_idx_reads_plain_and_gzipped_files(
    tmp_path: Path, pack: Callable[[bytes], bytes], end: str, check_splits: Callable[..., None]
) -> None:
    write_idx(tmp_path, pack, end, first=1)
    splits = Idx(folder=str(tmp_path)).load()
    assert splits.shape == (1, 6, 5) and splits.class_names == ("1", "2", "3", "4")
    assert len(splits.train) + len(splits.validation) == 60
    assert splits.test.targets.tolist() == [0, 1, 2, 3] * 5
    content = (tmp_path / f"t10k-images-idx3-ubyte{end}").read_bytes()
    raw = gzip.decompress(content) if end else content
    assert splits.test.pixels.tobytes() == raw[16:]
    check_splits(splits)


def test_idx_reads_the_other_spelling_of_its_names(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert Idx(folder=str(tmp_path)).load().classes == 4


def test_idx_says_what_is_wrong(tmp_path: Path, refused: Callable[..., None]) -> None:
    folder = tmp_path / "idx"
    part = Idx(folder=str(folder))
    put = "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
    refused(part, folder, "does not exist", put, f"into {folder}")
    write_idx(folder)
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    for damaged, text in (
        (whole[:-1], "truncated"),
        (whole + b"x", "damaged"),
        (whole[:9], "does not begin like an IDX file"),
        (b"\x00\x00\x0d\x03" + whole[4:], "does not begin like an IDX file of unsigned bytes with 3 axes"),
        (whole[:4] + bytes(12), "empty"),
    ):
        images.write_bytes(damaged)
        refused(part, images, text, put)
    images.write_bytes(whole)
    labels.write_bytes(idx_bytes(np.zeros(7, dtype=np.uint8)))
    refused(part, labels, "7 labels for 60 images in", put)
    labels.unlink()
    refused(part, labels, "is missing", put)
    packed = folder / "train-labels-idx1-ubyte.gz"
    packed.write_bytes(gzip.compress(idx_bytes(np.zeros(60, dtype=np.uint8)))[:-12])
    refused(part, packed, "cannot be unpacked", put)


def test_idx_refuses_files_of_two_data_sets(tmp_path: Path, refused: Callable[..., None]) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 7, 5), dtype=np.uint8)))
    refused(Idx(folder=str(tmp_path)), tmp_path, "(6, 5)", "(7, 5)", "one data set")
