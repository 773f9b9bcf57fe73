"""PyTorch without compilation."""

from __future__ import annotations

from torch import Tensor, nn

from hardware.backends._torch import Function, TorchBackend


class TorchEager(TorchBackend):
    """Runs modules as they are, in float32: fake quantization is never timed, so integer policies cost as float."""

    runtimes = ("torch",)

    def function(self, module: nn.Module, sample: Tensor) -> Function:
        """The module itself."""
        return module
