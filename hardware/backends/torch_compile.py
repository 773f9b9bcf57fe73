"""PyTorch's own compiler."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch._dynamo.config as dynamo
import torch._inductor.config as inductor
from torch import Tensor, nn

from hardware.backends._torch import Function, TorchBackend
from hardware.device import Device


class TorchCompile(TorchBackend):
    """`torch.compile` with inductor, weights frozen into the program, in float32; takes seconds for each network."""

    runtimes = ("torch",)

    def function(self, module: nn.Module, sample: Tensor) -> Function:
        """The compiled program.

        The compiler keeps eight programs for one code object, and runs all further ones uncompiled: so each network is
        called from a code object of its own.
        """

        def network(x: Tensor) -> Tensor:
            return module(x)

        network.__code__ = network.__code__.replace(co_name=f"network_{id(module)}")
        compiled: Any = torch.compile(network, fullgraph=True, dynamic=False, options={"freezing": True})
        return compiled

    @contextmanager
    def settings(self) -> Iterator[None]:
        """As for all of torch; compiles in this process, and forgets the compiled programs in the end."""
        with super().settings(), inductor.patch(compile_threads=1), dynamo.patch(fail_on_recompile_limit_hit=True):
            try:
                yield
            finally:
                torch.compiler.reset()

    def key(self, device: Device | None = None) -> str:
        """With the C++ compiler, which inductor's programs go through."""
        return json.dumps({**json.loads(super().key(device)), "compiler": _compiler()}, sort_keys=True)


@cache
def _compiler() -> str:
    """The first line that the C++ compiler says of itself; empty where inductor finds none."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        told = subprocess.run([get_cpp_compiler(), "--version"], capture_output=True, text=True, check=True, timeout=10)
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.partition("\n")[0]
