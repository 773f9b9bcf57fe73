"""Draws distorted characters, a batch at a time; each image depends on its own seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROTATION = 0.30
"""Radians, at most, at distortion 1; the next four are relative to the glyph or to half the frame's side."""
SHEAR = 0.30
SCALING = 0.25
SHIFT = 0.18
ELASTIC = 0.12
STROKE = 0.045
"""Half the change of a stroke's width at most, in half frame sides."""
RAMP = 0.2
"""Brightness that the background gains or loses from its middle to its border, at most."""
TINT = 0.25
"""Departure of a colour channel from grey, at most."""
CONTROL_POINTS = 5
"""Control points of the elastic distortion along each axis."""
SCALARS = 13
"""Uniform numbers per image, apart from strokes, colours and noise; see `Draws`."""


@dataclass(frozen=True)
class Difficulty:
    """How hard the images are; 0 throughout (and contrast 1) is clean print. Units are those of `Glyphs`."""

    distortion: float
    clutter: int
    blur: float
    noise: float
    contrast: float


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of a batch: each row comes from its own image's seed."""

    scalars: Floats
    """[n SCALARS], uniform in [-1, 1)."""
    strokes: Floats
    """[n clutter 6], uniform in [-1, 1): two end points, width, darkness."""
    tints: Floats
    """[n 3 channels], uniform in [-1, 1): of background, character and strokes."""
    elastic: Floats
    """[n 2 CONTROL_POINTS CONTROL_POINTS], normal."""
    noise: Floats
    """[n channels size size], normal."""


def draw(seeds: Sequence[tuple[int, ...]], difficulty: Difficulty, channels: int, size: int) -> Draws:
    """The random numbers of the images with these seeds, the same whatever batch they are in."""
    rows = [_draw_one(seed, difficulty.clutter, channels, size) for seed in seeds]
    return Draws(*(np.stack(column) for column in zip(*rows, strict=True)))


def _draw_one(seed: tuple[int, ...], clutter: int, channels: int, size: int) -> tuple[Floats, ...]:
    """One row of each array of `Draws`."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    uniform = generator.random(SCALARS + clutter * 6 + 3 * channels, dtype=np.float32) * 2 - 1
    scalars, strokes, tints = np.split(uniform, [SCALARS, SCALARS + clutter * 6])
    return (
        scalars,
        strokes.reshape(clutter, 6),
        tints.reshape(3, channels),
        generator.standard_normal((2, CONTROL_POINTS, CONTROL_POINTS), dtype=np.float32),
        generator.standard_normal((channels, size, size), dtype=np.float32),
    )


def render(fields: Floats, draws: Draws, difficulty: Difficulty) -> NDArray[np.uint8]:
    """The distance fields [n r r] of one character each, drawn as images [n channels size size]."""
    size = draws.noise.shape[-1]
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)
    distance = sample(fields, *source_points(axis, draws, difficulty.distortion))
    softness = (2 / size) * (1 + difficulty.blur * (draws.scalars[:, 6] + 1) / 2)
    stroke = STROKE * min(difficulty.distortion, 1.0) * draws.scalars[:, 7]
    ink = coverage(distance + stroke[:, None, None], softness)
    lines = scribbles(axis, draws.strokes, softness)
    image = paint(ink, lines, axis, draws, difficulty.contrast)
    image += draws.noise * (difficulty.noise * (draws.scalars[:, 12] + 1) / 2)[:, None, None, None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def source_points(axis: Floats, draws: Draws, distortion: float) -> tuple[Floats, Floats]:
    """Where each output pixel looks in its distance field: y and x, [n size size] each, the frame being [-1, 1].

    An affine map (rotation, shear, scale per axis, shift) followed by a smooth random displacement.
    """
    angle, shear, grow_y, grow_x, shift_y, shift_x = (draws.scalars[:, column] * distortion for column in range(6))
    cos, sin = np.cos(ROTATION * angle), np.sin(ROTATION * angle)
    gain_y, gain_x = np.exp(-SCALING * grow_y), np.exp(-SCALING * grow_x)
    rows, columns = axis[None, :, None], axis[None, None, :]
    y = rows - _column(SHIFT * shift_y)
    x = columns - _column(SHIFT * shift_x)
    turned_y = _column(gain_y * cos) * y - _column(gain_y * sin) * x
    turned_x = _column(gain_x * sin) * y + _column(gain_x * cos) * x + _column(SHEAR * shear) * turned_y
    bend = ELASTIC * distortion * displacement(axis, draws.elastic)
    return turned_y + bend[:, 0], turned_x + bend[:, 1]


def displacement(axis: Floats, control: Floats) -> Floats:
    """A smooth field [n 2 size size] through random control points (Simard et al. 2003, on a coarse grid).

    The sums run over the control points one by one, not through a matrix library, whose rounding may depend on the
    batch's size.
    """
    centres = np.linspace(-1, 1, control.shape[-1], dtype=np.float32)
    weights = np.exp(-np.square((axis[:, None] - centres) / np.float32(0.4)))
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    points = range(len(centres))
    rows = sum(weights[:, None, k] * control[:, :, None, k, :] for k in points)
    return np.asarray(sum(rows[..., None, k] * weights[:, k] for k in points))


def sample(fields: Floats, y: Floats, x: Floats) -> Floats:
    """Bilinear interpolation of [n r r] at points [n size size] of the frame [-1, 1]; the border's value outside."""
    side = fields.shape[-1]
    row, row_part = _cell(y, side)
    column, column_part = _cell(x, side)
    corner = row * side + column + (np.arange(len(fields)) * side * side)[:, None, None]
    flat = fields.reshape(-1)
    upper = flat[corner] * (1 - column_part) + flat[corner + 1] * column_part
    lower = flat[corner + side] * (1 - column_part) + flat[corner + side + 1] * column_part
    return np.asarray(upper * (1 - row_part) + lower * row_part)


def _cell(position: Floats, side: int) -> tuple[NDArray[np.int64], Floats]:
    """The grid cell of each position and the part of the way through it."""
    scaled = np.clip((position + 1) * np.float32(side / 2) - np.float32(0.5), 0, np.float32(side - 1.001))
    cell = scaled.astype(np.int64)
    return cell, (scaled - cell).astype(np.float32)


def coverage(distance: Floats, softness: Floats) -> Floats:
    """How much of each pixel [n size size] is inked: 0 to 1, ramping over `softness` [n] around distance 0."""
    return np.clip(distance / _column(softness) + np.float32(0.5), 0, 1)


def scribbles(axis: Floats, strokes: Floats, softness: Floats) -> Floats:
    """Straight strokes that disturb, as darkness [n size size] from 0 to 0.8."""
    lines = np.zeros((len(strokes), len(axis), len(axis)), dtype=np.float32)
    for number in range(strokes.shape[1]):
        y0, x0, y1, x1, width, darkness = (_column(strokes[:, number, k]) for k in range(6))
        step_y, step_x = y1 - y0, x1 - x0
        y, x = axis[None, :, None] - y0, axis[None, None, :] - x0
        along = np.clip((y * step_y + x * step_x) / (step_y * step_y + step_x * step_x + np.float32(1e-6)), 0, 1)
        distance = np.sqrt(np.square(y - along * step_y) + np.square(x - along * step_x))
        stroke = coverage(np.float32(0.06) + np.float32(0.04) * width - distance, softness)
        lines = np.maximum(lines, stroke * (np.float32(0.55) + np.float32(0.25) * darkness))
    return lines


def paint(ink: Floats, lines: Floats, axis: Floats, draws: Draws, contrast: float) -> Floats:
    """Background ramp, strokes and character in their colours, [n channels size size], not yet clipped.

    The character is brighter or darker than the background by between `contrast` and 1, half of them each.
    """
    column = draws.scalars
    gap = contrast + (1 - contrast) * np.abs(column[:, 8])
    dark = (1 - gap) * (column[:, 9] + 1) / 2
    inverted = column[:, 8] < 0
    back, fore = np.where(inverted, dark, dark + gap), np.where(inverted, dark + gap, dark)
    ramp = RAMP * (_column(column[:, 10]) * axis[None, :, None] + _column(column[:, 11]) * axis[None, None, :])
    tints = TINT * draws.tints * (draws.tints.shape[-1] > 1)
    background = (back[:, None] + tints[:, 0])[..., None, None] + (1 - contrast) * ramp[:, None]
    stroked = background + lines[:, None] * ((fore[:, None] + tints[:, 2])[..., None, None] - background)
    painted = stroked + ink[:, None] * ((fore[:, None] + tints[:, 1])[..., None, None] - stroked)
    return painted.astype(np.float32)


def _column(values: Floats) -> Floats:
    """[n] as [n 1 1]."""
    return values[:, None, None]
