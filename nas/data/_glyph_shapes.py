"""Characters as signed distance fields, from which strokes of any width and softness are drawn at any size."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont
from scipy import ndimage

from nas.data._characters import CHARACTERS, FONTS
from nas.data._images import DataError

EXTENT = 0.7
"""The longer side of a character's bounding box, as a fraction of the frame's side."""

OVERSAMPLING = 2
"""Mask pixels per distance field pixel, along each axis."""


def font_folder() -> Path:
    """Where matplotlib keeps its fonts, found without importing it.

    Raises:
        DataError: matplotlib is not installed or lacks one of the fonts.
    """
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise DataError(
            "matplotlib is not installed; `glyphs` draws with the fonts that it carries: pip install matplotlib"
        )
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    missing = [name for name in FONTS if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: the font {missing[0]} is missing; `glyphs` needs it: reinstall matplotlib")
    return folder


@functools.lru_cache(maxsize=2)
def distance_fields(classes: int, resolution: int) -> NDArray[np.float32]:
    """Signed distances to the outline, [font, character, y, x], for the first characters, read-only.

    Positive inside; the unit is half the frame's side.
    """
    folder = font_folder()
    fonts = [ImageFont.truetype(folder / name, resolution * OVERSAMPLING) for name in FONTS]
    fields = np.stack(
        [
            np.stack([_distance_field(font, character, resolution) for character in CHARACTERS[:classes]])
            for font in fonts
        ]
    )
    fields.flags.writeable = False
    return fields


def _distance_field(font: ImageFont.FreeTypeFont, character: str, resolution: int) -> NDArray[np.float32]:
    """The distance field [resolution resolution] of one character."""
    inside = _mask(font, character, resolution * OVERSAMPLING)
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    coarse = distance.reshape(resolution, OVERSAMPLING, resolution, OVERSAMPLING).mean(axis=(1, 3))
    return np.asarray(coarse * 2 / inside.shape[0], dtype=np.float32)


def _mask(font: ImageFont.FreeTypeFont, character: str, side: int) -> NDArray[np.bool_]:
    """Which pixels of [side side] lie inside the character, centred and scaled to `EXTENT`."""
    mask = font.getmask(character, mode="L")
    glyph = Image.frombytes("L", mask.size, bytes(mask))
    factor = EXTENT * side / max(glyph.size)
    glyph = glyph.resize(
        (max(1, round(glyph.width * factor)), max(1, round(glyph.height * factor))), Image.Resampling.BICUBIC
    )
    frame = Image.new("L", (side, side))
    frame.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return np.asarray(frame) > 127
