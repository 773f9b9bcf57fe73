"""From labelled images to splits: stratified, deterministic from a seed, standardized by the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data._images import DataError, Images, Pixels, Splits, Standardization

STATISTICS_CHUNK = 1024
"""Images per step when mean and deviation are summed, which bounds the memory for float64 copies."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Stored images [n c h w] and their class indices [n]."""

    pixels: Pixels
    targets: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Labelled:
        """The images at these indices."""
        return Labelled(self.pixels[indices], self.targets[indices])


def stratified(targets: NDArray[np.int64], fractions: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Shuffled indices, cut into one part per fraction and a last one with the remainder.

    Each class is cut in these proportions to within one image, and so is the whole: where the classes are too small to
    give an image each, some of them do. The parts are cuts of `class_places`, with ranks in shuffled order.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    places = np.empty(len(targets))
    places[order] = class_places(targets[order])
    edges = np.cumsum(fractions)
    part = np.searchsorted(edges, places, side="right")
    return [order[part[order] == number] for number in range(len(edges) + 1)]


def class_places(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each image its place in [0, 1), (rank in its class + offset) / images of its class.

    Ranks follow the order given. The offsets are spread evenly over the classes, (class + 1/2) / classes, so that the
    places of all images together are even too.
    """
    counts = np.bincount(targets)
    by_class = np.argsort(targets, kind="stable")
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.arange(len(targets)) - starts
    offsets = (targets[by_class] + 0.5) / len(counts)
    places = np.empty(len(targets))
    places[by_class] = (ranks + offsets) / counts[targets[by_class]]
    return places


def cut(pool: Labelled, fractions: Sequence[float], seed: int, source: object) -> list[Labelled]:
    """The pool cut by `stratified`, the remainder (the training images) last.

    Raises:
        DataError: a part would be empty; the message names the source and the number of images there.
    """
    parts = stratified(pool.targets, fractions, seed)
    if not all(len(part) for part in parts):
        raise DataError(
            f"{source}: {len(pool.targets)} images are too few to split by the fractions {tuple(fractions)} and "
            "the rest for training; add images, or raise the fractions `validation` and `test`"
        )
    return [pool.take(part) for part in parts]


def make_splits(
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    class_names: tuple[str, ...],
    scale: float,
    calibration: int,
    source: object,
) -> Splits:
    """Splits of these images, standardized by the training images, with at most so many of them for calibration.

    Raises:
        DataError: fewer than two classes, or a class without a training image.
    """
    _check_classes(train.targets, class_names, source)
    standardization = measure(train.pixels, scale)
    subset = np.argsort(class_places(train.targets), kind="stable")[:calibration]
    learned, judging, calibrating, reported = (
        Images(part.pixels, part.targets, standardization) for part in (train, validation, train.take(subset), test)
    )
    return Splits(learned, judging, calibrating, reported, class_names)


def _check_classes(targets: NDArray[np.int64], class_names: tuple[str, ...], source: object) -> None:
    """Raise unless there are two classes at least, each with a training image."""
    if len(class_names) < 2:
        raise DataError(
            f"{source}: holds images of {len(class_names)} class; classification needs two classes at least"
        )
    counts = np.bincount(targets, minlength=len(class_names))
    missing = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"{source}: no training image of class {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}; "
            "every class needs images to learn from: add some, or leave the class out"
        )


def measure(pixels: Pixels, scale: float) -> Standardization:
    """The mean and standard deviation of each channel of [n c h w]; deviation 1 where a channel is constant."""
    total = np.zeros(pixels.shape[1])
    squares = np.zeros(pixels.shape[1])
    for start in range(0, len(pixels), STATISTICS_CHUNK):
        values = pixels[start : start + STATISTICS_CHUNK].astype(np.float64) * scale
        total += values.sum(axis=(0, 2, 3))
        squares += np.square(values).sum(axis=(0, 2, 3))
    count = pixels.size // pixels.shape[1]
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    deviation[deviation < 1e-6] = 1.0
    return Standardization(scale, tuple(map(float, mean)), tuple(map(float, deviation)))


def relabel(
    train: NDArray[np.int64], test: NDArray[np.int64] | None, source: object
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, tuple[str, ...]]:
    """Class indices from 0 for labels that may be any integers, and the labels as class names.

    Raises:
        DataError: a test label that no training image has.
    """
    labels = np.unique(train)
    names = tuple(str(label) for label in labels)
    if test is not None and (unknown := np.setdiff1d(test, labels)).size:
        raise DataError(
            f"{source}: the test labels {unknown[:5].tolist()} are on no training image; training labels are "
            f"{labels.min()} to {labels.max()}: use the same labels in both"
        )
    return np.searchsorted(labels, train), None if test is None else np.searchsorted(labels, test), names
