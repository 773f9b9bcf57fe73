"""Differences: where two configurations are not the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """`a.b: 3 before, 4 now` for each place at which two pieces of JSON data differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from differences(before.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{path}.{index}")
    elif before is _ABSENT or now is _ABSENT or json.dumps(before) != json.dumps(now):
        yield f"{path or 'configuration'}: {_shown(before)} before, {_shown(now)} now"


_ABSENT = object()


def _shown(value: Any) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
