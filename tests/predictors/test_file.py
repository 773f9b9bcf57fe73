"""Files of predictors: whole or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictors._file import PredictorFileError, load, save
from predictors.encodings.fbnet import FBNet
from predictors.encodings.nas_bench_201 import NasBench201
from predictors.ridge import Ridge
from tests.predictors.spaces import encoding, examples


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictor") / "ridge.npz"
    save(path, Ridge(), Ridge().fit(examples(encoding("nas_bench_201"), 30)), NasBench201())
    return path


def test_nothing_is_pickled(written: Path) -> None:
    with np.load(written, allow_pickle=False) as file:
        assert all(file[key].dtype.kind in "biufU" for key in file.files)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.99])
def test_a_cut_file_is_told(written: Path, tmp_path: Path, share: float) -> None:
    data = written.read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PredictorFileError, match=r"cut\.npz is damaged"):
        load(path, NasBench201())


def test_a_changed_byte_is_told(written: Path, tmp_path: Path) -> None:
    data = bytearray(written.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "changed.npz"
    path.write_bytes(bytes(data))
    with pytest.raises(PredictorFileError, match="damaged"):
        load(path, NasBench201())


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, a=np.arange(3))
    with pytest.raises(PredictorFileError, match="no predictor"):
        load(path, FBNet())
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.npz", FBNet())


def test_missing_arrays_are_told(written: Path, tmp_path: Path) -> None:
    with np.load(written, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if "posterior" not in key}
    path = tmp_path / "less.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(PredictorFileError, match="lacks what ridge needs"):
        load(path, NasBench201())


def test_a_failed_write_leaves_the_old_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(written, Ridge(), Ridge().fit(examples(encoding("nas_bench_201"), 20)), NasBench201())
    assert written.read_bytes() == before and list(written.parent.iterdir()) == [written]
