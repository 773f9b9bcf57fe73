"""The versions that made a run or an export."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("hardware-nas", "torch", "numpy", "onnx", "onnxruntime", "safetensors")


def versions() -> dict[str, str]:
    """The interpreter's version, and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
