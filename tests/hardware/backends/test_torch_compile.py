"""Compiled PyTorch: the same outputs, compiled for each network, and failures in its own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hardware.backends import torch_compile
from hardware.backends._local import float_module
from hardware.backends._role import Workload
from hardware.backends.torch_compile import TorchCompile
from hardware.isolation import in_this_process
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.part import Shape
from tests.hardware.networks import BRIEF, FLOAT, INPUT

pytestmark = pytest.mark.slow


def program(network: Architecture, x: Tensor) -> nn.Module:
    """The traced network: the checks of shapes that the tests put into modules cannot be compiled."""
    return torch.export.export(float_module(Workload(network)).requires_grad_(False), (x,)).module()


def test_outputs_are_those_of_the_module() -> None:
    x = torch.randn(1, *INPUT)
    module = program(FLOAT, x)
    with TorchCompile().settings():
        torch.testing.assert_close(TorchCompile().function(module, x)(x), module(x), rtol=0, atol=1e-5)


class Scaled(nn.Module):
    """One class, and as many different programs as there are values."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return self.value * x


def test_more_networks_than_the_compiler_keeps_for_one_class_are_all_compiled() -> None:
    """Beyond its limit the compiler would run modules uncompiled, silently; the settings make that an error."""
    x = torch.randn(1, *INPUT)
    networks = [nn.Sequential(Scaled(value)).eval() for value in range(torch._dynamo.config.recompile_limit + 2)]
    with TorchCompile().settings():
        for network in networks:
            torch.testing.assert_close(TorchCompile().function(network, x)(x), network(x))
        with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
            for network in networks:
                torch.compile(network, dynamic=False, backend="eager")(x)


def test_a_missing_compiler_is_a_state_with_the_runtimes_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, *INPUT)
    torch.export.save(torch.export.export(program(FLOAT, x), (x,)), tmp_path / "model.pt2")
    missing = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    with in_this_process(), torch._inductor.config.patch(missing):
        failed = TorchCompile().measure_export(tmp_path, BRIEF)
    assert failed.state == "compile_failed" and "compiler" in failed.reason


class Forking(Block):
    """A block whose course depends on its input, which one program cannot hold."""

    def build(self, shape: Shape) -> nn.Module:
        """The module."""
        return Fork()


class Fork(nn.Module):
    """Twice x, or half of it."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return 2 * x if x.sum() > 0 else x / 2


def test_a_network_that_would_run_in_pieces_is_refused_alone() -> None:
    refused, fine = TorchCompile().measure(
        [Workload(Architecture(INPUT, (Forking(),))), Workload(Architecture(INPUT, ()))], BRIEF
    )
    assert refused.state == "compile_failed" and "data-dependent" in refused.reason.lower()
    assert fine.ok


def test_the_key_holds_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_compile._compiler.cache_clear()
    here = json.loads(TorchCompile().key())
    assert here["compiler"] and "device" not in here["backend"]
    monkeypatch.setattr(torch_compile, "_compiler", lambda: "another")
    assert json.loads(TorchCompile().key()) == {**here, "compiler": "another"}
