"""Wording: how values are named, scaled and written for people."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LABELS = {
    "error": "error",
    "latency_ms": "latency",
    "peak_memory_bytes": "peak memory",
    "model_bytes": "model size",
    "parameters": "parameters",
    "macs": "multiply-accumulates",
}
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
MISSING = "–"


@dataclass(frozen=True)
class Scale:
    """How a value's numbers are shown: multiplied by `factor`, with `unit` behind."""

    name: str
    factor: float
    unit: str

    @property
    def title(self) -> str:
        """The title of an axis, for example `latency (ms)`."""
        return f"{label(self.name)} ({self.unit})" if self.unit else label(self.name)

    def __call__(self, value: float | None) -> float | None:
        """The number shown, or None where there is none."""
        return None if value is None or not math.isfinite(value) else value * self.factor


def label(name: str) -> str:
    """A value's name in words; an unknown name without its underscores."""
    return LABELS.get(name, name.replace("_", " "))


def scale(name: str, values: Iterable[float | None]) -> Scale:
    """The scale under which the greatest of these values has one to three digits before the point."""
    if name == "error":
        return Scale(name, 100.0, "%")
    if name.endswith("_ms"):
        return Scale(name, 1.0, "ms")
    if name.endswith("_mj"):
        return Scale(name, 1.0, "mJ")
    greatest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    unit = "B" if name.endswith("_bytes") else ""
    for size, prefix in _PREFIXES:
        if greatest >= size:
            return Scale(name, 1 / size, prefix + unit)
    return Scale(name, 1.0, unit)


def quantity(name: str, value: float | None, digits: int = 3) -> str:
    """One value with its unit: `1.39 %`, `0.213 ms`, `12.3 kB`; a dash where there is none."""
    shown = scale(name, [value])
    number = shown(value)
    if number is None:
        return MISSING
    return f"{number:.2f}\u00a0%" if name == "error" else _joined(number, shown.unit, digits)


def limit(name: str, value: float) -> str:
    """A bound with its unit, to as many digits as a person gave it: `0.6 ms`."""
    shown = scale(name, [value])
    return f"{value * shown.factor:g}\u00a0{shown.unit}".rstrip()


def _joined(number: float, unit: str, digits: int) -> str:
    """A number to so many significant digits (whole below a thousand units), and its unit."""
    whole = float(number).is_integer() and abs(number) < 1000
    text = f"{number:.0f}" if whole else significant(number, digits)
    return f"{text}\u00a0{unit}".rstrip()


def significant(number: float, digits: int = 3) -> str:
    """A number to so many significant digits, never in exponent form."""
    if number == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, places):.{max(0, places)}f}"


def percent(share: float | None) -> str:
    """A share of 1 as a percentage with two decimals."""
    return MISSING if share is None else f"{100 * share:.2f}\u00a0%"


def signed(share: float) -> str:
    """A share of 1 as a percentage with its sign: `+3.1 %`."""
    return f"{100 * share:+.1f}\u00a0%".replace("-", "−")


def count(number: int) -> str:
    """A count in HTML: `12,345`, and `3.2 × 10<sup>9</sup>` above ten million."""
    if number < 10**7:
        return f"{number:,}"
    exponent = len(str(number)) - 1
    mantissa = round(number / 10**exponent, 1)
    if mantissa >= 10:
        mantissa, exponent = 1.0, exponent + 1
    return f"{mantissa:.1f} × 10<sup>{exponent}</sup>"


def words(name: str) -> str:
    """A kind or field name in words; a part from outside by its class."""
    return name.rpartition(":")[2].replace("_", " ")


def escape(text: object) -> str:
    """Text that is safe between tags and inside quoted attributes."""
    return html.escape(str(text), quote=True)


def embedded(data: Any) -> str:
    """JSON that is safe inside a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
