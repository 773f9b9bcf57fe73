"""Characters drawn from bundled fonts with distortion, clutter and noise."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.data._characters import CHARACTERS, FONTS
from nas.data._glyph_drawing import Difficulty, draw, render
from nas.data._glyph_shapes import distance_fields
from nas.data._role import Dataset, Splits
from nas.data._split import Labelled, make_splits

TRAIN, VALIDATION, TEST = range(3)
"""The number of a split within an image's seed."""

CHUNK_PIXELS = 1 << 18
"""Pixels drawn at a time: what fits into a processor's cache is fastest."""


class Glyphs(Dataset):
    """Generated images: one character of a bundled font each, distorted; any number of classes, any size.

    An image is a function of (seed, split, index), whatever is drawn before or beside it; image i shows class
    i mod classes in one of eight fonts. All images take classes * samples_per_class * channels * size ** 2 bytes.
    """

    classes: int = Field(36, strict=True, ge=2, le=len(CHARACTERS), description="the first so many characters")
    size: int = Field(24, strict=True, ge=8, le=224, description="height and width in pixels")
    channels: Literal[1, 3] = 1
    samples_per_class: int = Field(400, strict=True, ge=3, description="images of a class in all splits together")
    test: float = Field(0.2, strict=True, gt=0, le=0.4, description="fraction of the images that is reported on")
    distortion: float = Field(1.0, strict=True, ge=0, le=2, description="of the affine and elastic distortions")
    clutter: int = Field(2, strict=True, ge=0, le=16, description="disturbing strokes per image")
    blur: float = Field(1.0, strict=True, ge=0, description="widening of edges at most, in pixels")
    noise: float = Field(0.15, strict=True, ge=0, le=1, description="standard deviation at most, of a range of 1")
    contrast: float = Field(0.3, strict=True, gt=0, le=1, description="of character to background at least")

    def load(self) -> Splits:
        """Draw all images."""
        test = max(1, round(self.samples_per_class * self.test))
        validation = max(1, round(self.samples_per_class * self.validation))
        counts = {TRAIN: self.samples_per_class - validation - test, VALIDATION: validation, TEST: test}
        train, judging, reported = (self._split(split, count * self.classes) for split, count in counts.items())
        names = tuple(CHARACTERS[: self.classes])
        return make_splits(train, judging, reported, names, 1 / 255, self.calibration, source="glyphs")

    def _split(self, split: int, count: int) -> Labelled:
        """The first images of a split."""
        pixels = np.empty((count, self.channels, self.size, self.size), dtype=np.uint8)
        chunk = max(1, CHUNK_PIXELS // self.size**2)
        for start in range(0, count, chunk):
            indices = np.arange(start, min(start + chunk, count))
            pixels[indices] = self.draw(split, indices)
        return Labelled(pixels, np.arange(count) % self.classes)

    def draw(self, split: int, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of a split at these indices, [n channels size size]."""
        difficulty = Difficulty(self.distortion, self.clutter, self.blur, self.noise, self.contrast)
        seeds = [(self.seed, split, int(index)) for index in indices]
        fonts = [np.random.SeedSequence((*seed, 1)).generate_state(1)[0] % len(FONTS) for seed in seeds]
        fields = distance_fields(self.classes, 48 if self.size <= 48 else 96)
        draws = draw(seeds, difficulty, self.channels, self.size)
        return render(fields[fonts, indices % self.classes], draws, difficulty)
