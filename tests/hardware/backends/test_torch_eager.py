"""Eager PyTorch: float only, and failures in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hardware.backends._role import Workload
from hardware.backends.torch_eager import TorchEager
from hardware.isolation import in_this_process
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Shape
from tests.hardware.networks import BRIEF, INPUT, MIXED


class Failing(Block):
    """A block that cannot run."""

    error: str

    def build(self, shape: Shape) -> nn.Module:
        """The failing module."""
        return Raises({"memory": MemoryError, "operator": NotImplementedError, "other": RuntimeError}[self.error])


class Raises(nn.Module):
    """Raises when it runs."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        """Never returns."""
        raise self.error("these words")


@pytest.mark.parametrize(
    ("error", "state"), [("memory", "out_of_memory"), ("operator", "unsupported_operator"), ("other", "compile_failed")]
)
def test_a_failure_is_a_state_with_torchs_words(error: str, state: str) -> None:
    failed, fine = TorchEager().measure(
        [Workload(Architecture(INPUT, (Failing(error=error),))), Workload(Architecture(INPUT, ()))], BRIEF
    )
    assert failed.state == state
    assert "these words" in failed.reason
    assert fine.ok


def test_fake_quantization_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    build = Architecture.build

    def spy(self: Architecture, quantize: bool = True) -> nn.Sequential:
        seen.append(quantize)
        return build(self, quantize)

    monkeypatch.setattr(Architecture, "build", spy)
    with in_this_process():
        assert TorchEager().measure([Workload(MIXED)], BRIEF)[0].ok
    assert set(seen) == {False}
    assert not TorchEager.supports_integer


def test_weights_that_are_missing_are_an_error_of_the_caller() -> None:
    state = MIXED.build().state_dict()
    missing = next(iter(state))
    del state[missing]
    with pytest.raises(RuntimeError, match=f"the weights lack {missing}"):
        TorchEager().measure([Workload(MIXED, state)], BRIEF)


def test_threads_are_set_while_it_runs(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return x

    class Counted(Block):
        def build(self, shape: Shape) -> nn.Module:
            return Counting()

    torch.set_num_threads(1)
    with in_this_process():
        TorchEager(threads=2).measure([Workload(Architecture(INPUT, (Counted(),)))], BRIEF)
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1
