"""Laws of splitting: disjoint, stratified, deterministic, standardized by the training images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nas.data._images import DataError, Images, Standardization
from nas.data._split import Labelled, class_places, cut, make_splits, measure, relabel, stratified

targets_and_fractions = st.tuples(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.lists(st.floats(0.01, 0.4), min_size=1, max_size=2),
    st.integers(0, 99),
)


@given(targets_and_fractions)
@settings(max_examples=60, deadline=None)
def test_parts_hold_every_image_exactly_once(case: tuple[list[int], list[float], int]) -> None:
    targets, fractions, seed = case
    parts = stratified(np.array(targets), fractions, seed)
    assert len(parts) == len(fractions) + 1
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))


@given(targets_and_fractions)
@settings(max_examples=60, deadline=None)
def test_each_class_is_cut_in_proportion_to_within_one_image(case: tuple[list[int], list[float], int]) -> None:
    targets, fractions, seed = case
    labels = np.array(targets)
    for part, fraction in zip(stratified(labels, fractions, seed), fractions, strict=False):
        for label in set(targets):
            assert abs((labels[part] == label).sum() - fraction * (labels == label).sum()) <= 1 + 1e-9


def test_the_seed_decides_the_parts() -> None:
    targets = np.arange(100) % 5
    first, again, other = (stratified(targets, [0.2], seed)[0] for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


def test_parts_are_shuffled_so_that_a_prefix_is_no_single_class() -> None:
    train = stratified(np.repeat(np.arange(4), 50), [0.2], seed=0)[1]
    assert len(set((train[:40] // 50).tolist())) == 4


def test_places_spread_each_class_evenly_over_zero_to_one() -> None:
    assert_allclose(class_places(np.array([1, 0, 1, 0, 0])), [0.75 / 2, 0.25 / 3, 1.75 / 2, 1.25 / 3, 2.25 / 3])


def test_classes_too_small_for_an_image_each_still_give_the_whole_its_fraction() -> None:
    part = stratified(np.arange(300) % 100, [0.15], seed=0)[0]
    assert len(part) == 45 and len(set((part % 100).tolist())) == 45


def _pool(per_class: int = 30, classes: int = 3) -> Labelled:
    pixels = np.random.default_rng(0).integers(0, 256, (per_class * classes, 2, 4, 5), dtype=np.uint8)
    return Labelled(pixels, np.arange(per_class * classes) % classes)


def test_training_images_have_mean_zero_and_deviation_one() -> None:
    validation, train = cut(_pool(), [0.2], 0, "here")
    splits = make_splits(train, validation, validation, ("a", "b", "c"), 1 / 255, 10, "here")
    inputs = splits.train.inputs
    assert_allclose(inputs.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    assert_allclose(inputs.std(axis=(0, 2, 3)), 1, atol=1e-6)
    scaled = train.pixels / 255.0
    assert_allclose(splits.standardization.mean, scaled.mean(axis=(0, 2, 3)))
    assert_allclose(splits.standardization.std, scaled.std(axis=(0, 2, 3)))


def test_statistics_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(_pool().pixels, 1 / 16)
    monkeypatch.setattr("nas.data._split.STATISTICS_CHUNK", 7)
    chunked = measure(_pool().pixels, 1 / 16)
    assert_allclose(whole.mean, chunked.mean)
    assert_allclose(whole.std, chunked.std)


def test_a_constant_channel_becomes_zero() -> None:
    standardization = measure(np.full((3, 1, 2, 2), 9, dtype=np.uint8), 1 / 255)
    assert standardization.std == (1.0,)
    assert_allclose(standardization(np.full((1, 1, 2, 2), 9, dtype=np.uint8)), 0, atol=1e-7)


def test_calibration_is_a_stratified_part_of_the_training_images() -> None:
    pool = _pool()
    validation, train = cut(pool, [0.2], 0, "here")
    splits = make_splits(train, validation, validation, ("a", "b", "c"), 1 / 255, 12, "here")
    learned = {image.tobytes() for image in splits.train.pixels}
    assert {image.tobytes() for image in splits.calibration.pixels} < learned
    assert np.bincount(splits.calibration.targets).tolist() == [4, 4, 4]


def test_batches_are_standardized_in_the_order_given() -> None:
    pixels = np.arange(10, dtype=np.uint8).reshape(5, 1, 1, 2)
    images = Images(pixels, np.arange(5), Standardization(0.5, (1.0,), (2.0,)))
    batches = list(images.batches(2, np.array([4, 0, 3])))
    assert [len(targets) for _, targets in batches] == [2, 1]
    inputs = np.concatenate([inputs for inputs, _ in batches])
    assert inputs.dtype == np.float32
    assert_allclose(inputs, (pixels[[4, 0, 3]] * 0.5 - 1.0) / 2.0)
    assert_allclose(np.concatenate([batch for batch, _ in images.batches(2)]), images.inputs)
    assert images.shape == (1, 1, 2)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"^here: 3 images are too few to split .*add images"):
        cut(_pool(1, 3), [0.1, 0.1], 0, "here")


def test_a_class_without_training_images_is_named() -> None:
    pool = _pool(10, 2)
    with pytest.raises(DataError, match=r"^here: no training image of class zebra; .*add some"):
        make_splits(pool, pool, pool, ("a", "b", "zebra"), 1.0, 5, "here")


def test_a_single_class_is_refused() -> None:
    pool = _pool(10, 1)
    with pytest.raises(DataError, match=r"^here: .*needs two classes"):
        make_splits(pool, pool, pool, ("a",), 1.0, 5, "here")


def test_labels_of_any_value_become_indices_and_names() -> None:
    train, test, names = relabel(np.array([5, 9, 5, 7]), np.array([9, 5]), "here")
    assert train.tolist() == [0, 2, 0, 1]
    assert test is not None and test.tolist() == [2, 0]
    assert names == ("5", "7", "9")


def test_a_test_label_that_is_never_trained_is_refused() -> None:
    with pytest.raises(DataError, match=r"^here: the test labels \[8\] are on no training image; .* 5 to 9"):
        relabel(np.array([5, 9]), np.array([8, 5]), "here")
