"""Backends that run on the processor or on an NVIDIA GPU, as their `device` says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import abstractmethod
from functools import cache
from typing import Literal

from hardware.backends._local import LocalBackend
from hardware.backends._role import UnavailableError
from hardware.device import Device


class CudaBackend(LocalBackend):
    """A runtime that can use the first visible GPU. Where there is none, it never falls back to the processor."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where networks run: the processor, or the first visible NVIDIA GPU."""

    @abstractmethod
    def cuda_fault(self) -> str:
        """Why this runtime cannot use a GPU here, in its own words; empty if it can."""

    def check(self) -> None:
        """The runtime is installed, and has a GPU if it is to use one.

        Raises:
            UnavailableError: with the runtime's words.
        """
        super().check()
        if self.device == "cuda" and (fault := self.cuda_fault()):
            raise UnavailableError(f"{self.kind()} cannot use device: cuda here ({fault}); or set device: cpu")

    def key(self, device: Device | None = None) -> str:
        """With the GPU and its driver where one is used. On the processor it is what it was before GPUs were known."""
        facts = json.loads(super().key(device))
        if self.device == "cpu":
            del facts["backend"]["device"]
        else:
            facts["cuda"] = {"drivers": _drivers(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
        return json.dumps(facts, sort_keys=True)


@cache
def _drivers() -> list[str]:
    """Name and driver version of each GPU, as the driver's tool tells them; empty where there is no such tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout
    return [line.strip() for line in listed.splitlines() if line.strip()]
