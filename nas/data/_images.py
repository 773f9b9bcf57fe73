"""What a data set hands out: images that become float32 in batches, apart from one another in splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchspaces.part import Shape

Pixels = NDArray[np.uint8] | NDArray[np.float32]
"""Stored images [n c h w]: uint8 where the file's are, else float32."""

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Standardized inputs [b c h w] and class indices [b]."""


class DataError(ValueError):
    """Data that is missing or not as expected: names the path, what belongs there and how to mend it."""


@dataclass(frozen=True)
class Standardization:
    """The input contract of every network: x = (pixel * scale - mean) / std, per channel.

    `mean` and `std` are those of the scaled training images.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Stored pixels [b c h w] as network inputs, float32 [b c h w]."""
        gain = np.array([self.scale / deviation for deviation in self.std], dtype=np.float32)
        offset = np.array([-mean / deviation for mean, deviation in zip(self.mean, self.std, strict=True)], np.float32)
        result: NDArray[np.float32] = pixels.astype(np.float32) * gain[:, None, None] + offset[:, None, None]
        return result


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one split, kept as stored and standardized when a batch is taken.

    `pixels` is [n c h w], `targets` is int64 [n] with values from 0 to classes - 1.
    """

    pixels: Pixels
    targets: NDArray[np.int64]
    standardization: Standardization

    def __len__(self) -> int:
        """The number of images."""
        return len(self.targets)

    @property
    def shape(self) -> Shape:
        """The shape of one image, (c, h, w)."""
        return tuple(int(length) for length in self.pixels.shape[1:])

    @property
    def inputs(self) -> NDArray[np.float32]:
        """All images as network inputs, float32 [n c h w]; four times the memory of uint8 pixels."""
        return self.standardization(self.pixels)

    def take(self, indices: NDArray[np.int64]) -> Batch:
        """The network inputs and targets at these indices, in their order."""
        return self.standardization(self.pixels[indices]), self.targets[indices]

    def batches(self, batch_size: int, order: NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """Batches in this order (as stored unless given); the last one may be smaller."""
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), batch_size):
            yield self.take(order[start : start + batch_size])


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to learn from, to search with and to report on.

    `train`, `validation` (what the search judges by) and `test` are disjoint. `calibration` is a stratified
    subset of `train`, for normalization statistics and quantization ranges: disjoint from what judges.
    """

    train: Images
    validation: Images
    calibration: Images
    test: Images
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> Shape:
        """The shape of one image, (c, h, w)."""
        return self.train.shape

    @property
    def standardization(self) -> Standardization:
        """How stored pixels become network inputs; the same for all splits."""
        return self.train.standardization
