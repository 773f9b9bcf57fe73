"""Laws of augmentation: each image equals a naive shift and mirror of itself, by its own seeded draw."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from nas.data._augmentation import Augmentation

IMAGES = torch.randn(64, 2, 5, 7, generator=torch.Generator().manual_seed(0))


def naive(image: torch.Tensor, down: int, right: int, mirrored: bool, reach: int) -> torch.Tensor:
    """One image [c h w], padded by its border, cropped and then mirrored."""
    padded = functional.pad(image[None], (reach,) * 4, mode="replicate")[0]
    height, width = image.shape[1:]
    cropped = padded[:, reach + down : reach + down + height, reach + right : reach + right + width]
    return cropped.flip(2) if mirrored else cropped


def draws(part: Augmentation, seed: int = 0) -> torch.Tensor:
    return part(IMAGES, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("shift", "flip"), [(0, True), (2, False), (2, True), (6, False)])
def test_every_image_is_a_naive_shift_and_mirror_of_itself(shift: int, flip: bool) -> None:
    seen = set()
    for before, after in zip(IMAGES, draws(Augmentation(shift=shift, flip=flip)), strict=True):
        found = [
            (down, right, mirrored)
            for down in range(-shift, shift + 1)
            for right in range(-shift, shift + 1)
            for mirrored in {False, flip}
            if torch.equal(after, naive(before, down, right, mirrored, max(shift, 1)))
        ]
        assert found
        seen.add(found[0])
    assert len(seen) > 1
    assert {mirrored for *_, mirrored in seen} == {False, flip}


def test_nothing_to_do_changes_nothing() -> None:
    assert draws(Augmentation()) is IMAGES


def test_the_generator_decides() -> None:
    part = Augmentation(shift=2, flip=True)
    assert torch.equal(draws(part, 3), draws(part, 3))
    assert not torch.equal(draws(part, 3), draws(part, 4))


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"shift": 1.5}, {"flip": "yes"}, {"turn": 3}])
def test_wrong_fields_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Augmentation(**wrong)  # type: ignore[arg-type]
