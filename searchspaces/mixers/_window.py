"""Kernel sizes and dilations as users may write them: one number for both axes, or one per axis."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def _odd(size: int) -> int:
    """The size itself.

    Raises:
        ValueError: it is even, so that the window has no centre and the output could not keep the input's size.
    """
    if size % 2 == 0:
        raise ValueError(f"must be odd, so that the window has a centre; {size} is even")
    return size


Positive = Annotated[int, Field(ge=1, strict=True)]
"""A whole number from 1 on."""

Odd = Annotated[int, Field(ge=1, strict=True), AfterValidator(_odd)]
"""An odd number from 1 on: a window size along one axis."""

OddPair = Odd | tuple[Odd, Odd]
"""A window size: one for both axes, or (height, width)."""

PositivePair = Positive | tuple[Positive, Positive]
"""A dilation or size: one for both axes, or (height, width)."""


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a number that may stand for both."""
    return (value, value) if isinstance(value, int) else value
