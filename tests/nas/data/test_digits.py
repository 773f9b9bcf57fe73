"""Digits: the splits of the installed copy; and what holds for every kind of data."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from nas.data import digits
from nas.data._images import Images
from nas.data._role import DataError, Dataset
from nas.data.digits import Digits
from searchspaces.registry import kinds, resolve


def same(first: Images, second: Images) -> bool:
    return np.array_equal(first.pixels, second.pixels) and np.array_equal(first.targets, second.targets)


def test_every_kind_is_one_dataset_that_describes_itself() -> None:
    assert {"cifar", "digits", "glyphs", "idx", "image_folder", "npz"} <= set(kinds(Dataset))
    for kind in kinds(Dataset):
        found = resolve(Dataset, kind)
        assert found.kind() == kind
        needed = {name: "somewhere" for name, field in found.model_fields.items() if field.is_required()}
        description = found(**needed).describe()
        assert description.pop("kind") == kind
        assert found(**json.loads(json.dumps(description))) == found(**needed)


def test_digits_are_1797_images_in_stratified_disjoint_splits(check_splits: Callable[..., None]) -> None:
    splits = Digits().load()
    assert splits.shape == (1, 8, 8) and splits.classes == 10
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert abs(len(splits.test) - 0.2 * 1797) <= 10 and abs(len(splits.validation) - 0.15 * 1797) <= 10
    assert splits.train.pixels.max() == 16 and splits.standardization.scale == 1 / 16
    check_splits(splits)
    for part in (splits.train, splits.validation, splits.test, splits.calibration):
        counts = np.bincount(part.targets)
        assert counts.max() - counts.min() <= 0.1 * counts.mean() + 2


def test_digits_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    splits = Digits().load()
    parts = (splits.train, splits.validation, splits.test)
    found = np.concatenate([np.c_[part.pixels.reshape(len(part), -1), part.targets] for part in parts])
    expected = np.c_[images, targets].astype(np.int64)
    assert np.array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])


def test_digits_that_are_not_installed_are_an_error_that_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        Digits().load()


def test_the_seed_decides_the_splits_of_digits() -> None:
    first, again, other = Digits().load(), Digits().load(), Digits(seed=1).load()
    for name in ("train", "validation", "calibration", "test"):
        assert same(getattr(first, name), getattr(again, name))
        assert not same(getattr(first, name), getattr(other, name))
