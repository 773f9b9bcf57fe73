"""NASWOT (Mellor et al., "Neural architecture search without training", arXiv:2006.04647v3, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictors.proxies._role import Proxy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from predictors.proxies._role import Batches

_ACTIVATIONS = ("ReLU", "ReLU6", "GELU", "SiLU", "Hardswish", "LeakyReLU", "ELU", "PReLU", "Mish")


class Naswot(Proxy):
    """How differently the samples of a batch switch the activations on and off.

    The codes are those of every activation module, whose unit counts as on where its input is positive, as for ReLU.
    """

    def judged(self, network: nn.Module, batches: Batches) -> float:
        """log | det K |, K_ij = units - Hamming distance of the codes of samples i and j; -inf if two are equal."""
        import torch

        codes: list[Tensor] = []

        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            codes.append((inputs[0] > 0).flatten(1).double())

        for module in network.modules():
            if type(module).__name__ in _ACTIVATIONS:
                module.register_forward_pre_hook(note)
        with torch.no_grad():
            network(batches[0][0])
        if not codes:
            raise ValueError("naswot needs a network with activation modules such as ReLU")
        code = torch.cat(codes, dim=1)
        kernel = code @ code.T + (1 - code) @ (1 - code).T
        return float(torch.linalg.slogdet(kernel).logabsdet)
