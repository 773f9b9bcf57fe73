"""Wiring: which block reads which outputs; and the one executor of it, for standalone networks and sub-networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

Wires = tuple[tuple[int, ...], ...]
"""For each block, in the order of execution, the values that it reads: 0 is the network's input, n the output of block
n - 1. The last block's output is the network's."""


def is_chain(wires: Wires) -> bool:
    """Whether each block reads the one before it and nothing else."""
    return all(sources == (index,) for index, sources in enumerate(wires))


def steps(wires: Wires) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each block the values that it reads, and those of them that no later block reads."""
    last = {source: index for index, sources in enumerate(wires) for source in sources}
    return [
        (sources, tuple(source for source in dict.fromkeys(sources) if last[source] == index))
        for index, sources in enumerate(wires)
    ]


def execute(steps: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], call: Callable[..., Tensor], x: Tensor) -> Tensor:
    """The network's output [b ...] for its input [b ...].

    Args:
        steps: of the network's wires.
        call: takes a block's number and the values that it reads, and returns its output.
        x: the input.
    """
    values = {0: x}
    for index, (sources, spent) in enumerate(steps):
        inputs = [values[source] for source in sources]
        for source in spent:
            del values[source]
        x = values[index + 1] = call(index, *inputs)
    return x


class Wired(nn.Sequential):
    """Blocks that form a graph, numbered like those of a chain.

    Args:
        wires: see `Wires`.
        blocks: in the order of execution.
    """

    def __init__(self, wires: Sequence[Sequence[int]], *blocks: nn.Module) -> None:
        super().__init__(*blocks)
        self.wires = tuple(map(tuple, wires))

    def forward(self, x: Tensor) -> Tensor:
        """[b *shape] -> the last block's output."""
        blocks = list(self)
        return execute(steps(self.wires), lambda index, *inputs: blocks[index](*inputs), x)


def network(wires: Wires, blocks: Sequence[nn.Module]) -> nn.Sequential:
    """The blocks as a module: a plain sequence where they are a chain."""
    return nn.Sequential(*blocks) if is_chain(wires) else Wired(wires, *blocks)
