"""Laws of the generated characters: each image a function of (seed, split, index) alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from nas.data import _glyph_shapes
from nas.data._characters import CHARACTERS, FONTS
from nas.data._glyph_drawing import SCALARS, Difficulty, displacement, draw, render, sample, scribbles
from nas.data._role import DataError
from nas.data.glyphs import TEST, TRAIN, VALIDATION, Glyphs

SMALL = Glyphs(classes=5, size=12, samples_per_class=20, calibration=10)
CLEAN = {"distortion": 0, "clutter": 0, "blur": 0, "noise": 0, "contrast": 1}


def test_shapes_counts_and_classes() -> None:
    splits = SMALL.load()
    assert splits.shape == (1, 12, 12)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [65, 15, 20]
    assert len(splits.calibration) == 10
    assert splits.class_names == ("0", "1", "2", "3", "4")
    for part in (splits.train, splits.validation, splits.calibration, splits.test):
        assert len(set(np.bincount(part.targets, minlength=5).tolist())) == 1
        assert part.pixels.dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 17, 64])
def test_any_size_and_channels(size: int, channels: int) -> None:
    images = Glyphs(classes=3, size=size, channels=channels).draw(TRAIN, np.arange(4))
    assert images.shape == (4, channels, size, size)
    assert images.std(axis=(1, 2, 3)).min() > 5
    assert (np.ptp(images, axis=1).max() > 0) == (channels == 3)


def test_an_image_does_not_depend_on_order_or_company() -> None:
    glyphs = Glyphs(classes=7, size=20, channels=3)
    together = glyphs.draw(TRAIN, np.arange(30))
    shuffled = np.random.default_rng(0).permutation(30)
    assert_array_equal(glyphs.draw(TRAIN, shuffled), together[shuffled])
    assert_array_equal(glyphs.draw(TRAIN, np.array([13])), together[13:14])


def test_chunks_do_not_change_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SMALL.load().train.pixels
    monkeypatch.setattr("nas.data.glyphs.CHUNK_PIXELS", 12 * 12 * 7)
    assert_array_equal(SMALL.load().train.pixels, whole)


def test_another_process_draws_the_same_images() -> None:
    code = (
        "import hashlib; from nas.data.glyphs import Glyphs;"
        "s = Glyphs(classes=5, size=12, samples_per_class=20, calibration=10).load();"
        "print(hashlib.sha256(s.train.pixels.tobytes() + s.test.pixels.tobytes()).hexdigest())"
    )
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    splits = SMALL.load()
    assert printed.strip() == hashlib.sha256(splits.train.pixels.tobytes() + splits.test.pixels.tobytes()).hexdigest()


def test_seed_split_and_index_each_change_the_image() -> None:
    first = SMALL.draw(TRAIN, np.array([0]))
    others = [
        SMALL.draw(VALIDATION, np.array([0])),
        SMALL.draw(TEST, np.array([0])),
        SMALL.draw(TRAIN, np.array([5])),
        SMALL.model_copy(update={"seed": 1}).draw(TRAIN, np.array([0])),
    ]
    assert all((first != other).mean() > 0.5 for other in others)


def test_no_image_is_in_two_splits() -> None:
    splits = SMALL.load()
    seen = [image.tobytes() for part in (splits.train, splits.validation, splits.test) for image in part.pixels]
    assert len(set(seen)) == len(seen)


def test_clean_print_is_black_on_white_or_white_on_black_and_upright() -> None:
    images = Glyphs(classes=36, size=32, **CLEAN).draw(TRAIN, np.arange(72))[:, 0].astype(int)
    border = images[:, 0, 0]
    assert set(border.tolist()) == {0, 255}
    ink = np.abs(images - border[:, None, None])
    rows = np.nonzero((ink > 127).any(axis=2).any(axis=0))[0]
    assert 3 <= rows[0] <= 6 and 25 <= rows[-1] <= 28
    assert_allclose(ink[:, ::-1].max(), 255)


@pytest.mark.parametrize(("field", "hard"), [("noise", 0.3), ("clutter", 4), ("distortion", 1), ("blur", 4)])
def test_each_difficulty_changes_the_images(field: str, hard: float) -> None:
    base = CLEAN | {"contrast": 0.5}
    indices = np.arange(16)
    easier = Glyphs(classes=4, size=24, **base).draw(TRAIN, indices).astype(int)
    harder = Glyphs(classes=4, size=24, **(base | {field: hard})).draw(TRAIN, indices).astype(int)
    assert np.abs(easier - harder).mean() > 1


def test_contrast_bounds_the_gap_of_character_and_background_from_below() -> None:
    images = Glyphs(classes=4, size=32, **(CLEAN | {"contrast": 0.4})).draw(TRAIN, np.arange(64))
    assert np.ptp(images, axis=(1, 2, 3)).min() >= 0.4 * 255 - 1


def test_characters_are_many_and_distinct() -> None:
    assert len(set(CHARACTERS)) == len(CHARACTERS) >= 300
    assert CHARACTERS.startswith("0123456789A")
    assert not set("OoIl|ΟОΑА") & set(CHARACTERS)


def test_no_two_characters_of_a_font_look_the_same() -> None:
    fields = _glyph_shapes.distance_fields(len(CHARACTERS), 48)
    for of_font in fields:
        ink = (of_font > 0).reshape(len(CHARACTERS), -1).astype(np.float32)
        assert ink.sum(axis=1).min() > 20
        overlap = ink @ ink.T
        union = ink.sum(axis=1)[:, None] + ink.sum(axis=1)[None] - overlap
        agreement = overlap / union - np.eye(len(ink))
        assert agreement.max() < 0.9


def test_distance_fields_are_positive_inside_and_in_half_frame_sides() -> None:
    field = _glyph_shapes.distance_fields(1, 48)[FONTS.index("DejaVuSans.ttf"), 0]
    assert field[24, 24] < 0 < field.max() < 0.2
    assert -1.0 < field[0, 0] < -0.3


def test_sampling_at_pixel_centres_returns_the_field() -> None:
    fields = np.random.default_rng(0).standard_normal((2, 6, 6)).astype(np.float32)
    centres = ((np.arange(6) + 0.5) / 3 - 1).astype(np.float32)
    y, x = (np.broadcast_to(axis, (2, 6, 6)) for axis in np.meshgrid(centres, centres, indexing="ij"))
    assert_allclose(sample(fields, y, x)[:, :5, :5], fields[:, :5, :5], atol=1e-5)
    between = (y[:, :5, :5] + np.float32(1 / 6), x[:, :5, :5])
    assert_allclose(sample(fields, *between), (fields[:, :5, :5] + fields[:, 1:, :5]) / 2, atol=2e-3)


def test_displacement_equals_its_matrix_form_and_keeps_constants() -> None:
    axis = np.linspace(-1, 1, 9, dtype=np.float32)
    control = np.random.default_rng(0).standard_normal((3, 2, 5, 5)).astype(np.float32)
    weights = np.exp(-(((axis[:, None] - np.linspace(-1, 1, 5)) / 0.4) ** 2))
    weights /= weights.sum(axis=1, keepdims=True)
    assert_allclose(displacement(axis, control), np.einsum("ia,ncab,jb->ncij", weights, control, weights), atol=1e-5)
    assert_allclose(displacement(axis, np.ones_like(control)), 1, atol=1e-5)


def test_scribbles_end_at_their_end_points() -> None:
    axis = np.linspace(-1, 1, 41, dtype=np.float32)
    stroke = np.array([[[0.0, -0.5, 0.0, 0.5, 0.0, 1.0]]], dtype=np.float32)
    lines = scribbles(axis, stroke, np.array([0.01], dtype=np.float32))[0]
    rows, columns = np.nonzero(lines)
    assert_allclose(lines.max(), 0.8, atol=1e-6)
    assert_allclose([axis[rows.min()], axis[rows.max()]], [-0.06, 0.06], atol=0.03)
    assert_allclose([axis[columns.min()], axis[columns.max()]], [-0.56, 0.56], atol=0.03)


def test_missing_fonts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_glyph_shapes, "FONTS", ("NoSuch.ttf",))
    with pytest.raises(DataError, match=r"ttf: the font NoSuch.ttf is missing; .*reinstall matplotlib"):
        _glyph_shapes.font_folder()


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_glyph_shapes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"matplotlib is not installed; .*pip install matplotlib"):
        _glyph_shapes.font_folder()


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"classes": 10_000}, {"size": 7}, {"size": 225}, {"channels": 2}])
def test_fields_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Glyphs(**wrong)


def test_each_random_scalar_changes_the_image() -> None:
    difficulty = Difficulty(distortion=1.0, clutter=1, blur=2.0, noise=0.3, contrast=0.3)
    draws = draw([(0, 0, 3)], difficulty, channels=1, size=24)
    field = _glyph_shapes.distance_fields(4, 48)[:1, 3]
    before = render(field, draws, difficulty)
    for column in range(SCALARS):
        scalars = draws.scalars.copy()
        scalars[:, column] *= -0.5
        assert (render(field, replace(draws, scalars=scalars), difficulty) != before).any(), column
