"""What shared weights cost: a training step of a sub-network over that of the standalone network.

A step is zeroing the gradients, the forward pass, the loss and the backward pass. The bound of the project is 1.05, for
a step of training by the sandwich rule: the largest, the smallest and two random sub-networks one after the other.
Prints one JSON line for each space and size of sub-network, and one for the sandwich:

    {"benchmark": "supernet_overhead", "space": "mobilenet", "architecture": "largest", "ratio": 1.01, ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timing import Action, Comparison, compare
from torch import Tensor, nn
from torch.nn import functional as F

from nas import yaml_source
from searchspaces.architecture import Architecture
from searchspaces.extremes import extremes
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet

DIGITS = Path(__file__).parent.parent / "examples" / "digits.yaml"
BLOCK = {"kernel": {"choice": [3, 5, 7]}, "expansion": {"choice": [3.0, 4.0, 6.0]}}
MOBILENET: dict[str, Any] = {
    "kind": "mobilenet",
    "stem": {"width": 16, "stride": 2},
    "stages": [
        {"depth": {"choice": [2, 3, 4]}, "width": {"choice": [16, 24]}, "block": BLOCK, "stride": 1},
        {"depth": {"choice": [2, 3, 4]}, "width": {"choice": [32, 40]}, "block": BLOCK},
        {"depth": {"choice": [2, 3, 4]}, "width": {"choice": [64, 80]}, "block": BLOCK},
    ],
    "head": 160,
}
CLASSES = 10


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    pixels, batch, rounds = (16, 4, 3) if arguments.quick else (arguments.pixels, arguments.batch, arguments.rounds)
    for line in measure("mobilenet", MOBILENET, (3, pixels, pixels), batch, rounds):
        print(json.dumps(line), flush=True)
    digits = yaml_source.read(DIGITS).data
    for line in measure("digits", digits["space"], (1, 8, 8), digits["training"]["batch_size"], rounds):
        print(json.dumps(line), flush=True)


def measure(
    name: str, description: dict[str, Any], shape: tuple[int, ...], batch: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """One line for the largest, a random and the smallest sub-network of a space.

    Args:
        name: of the space.
        description: the open network, as YAML has it.
        shape: (c, h, w) of one image.
        batch: images in a step.
        rounds: pairs of steps that are timed.
    """
    network = parse(Network, description, at=("space",), open=True)
    space = SearchSpace.of(network, Signature(shape, CLASSES))
    placements = Placements(space)
    torch.manual_seed(0)
    supernet, images = Supernet(placements), torch.randn(batch, *shape)
    smallest, largest = extremes(placements)
    first, second = space.sample(np.random.default_rng(0), 2)
    sizes = {"largest": [largest], "random": [first], "smallest": [smallest]}
    for size, rows in {**sizes, "sandwich": [largest, first, second, smallest]}.items():
        found = overhead(supernet, [space.decode(row) for row in rows], images, rounds)
        facts = {"space": name, "architecture": size, "batch": batch, "pixels": shape[-1]}
        yield {"benchmark": "supernet_overhead", **facts, **asdict(found)}


def overhead(supernet: Supernet, architectures: Iterable[Architecture], images: Tensor, rounds: int) -> Comparison:
    """Steps under shared weights (first) over those of the standalone networks with the same weights (second)."""
    targets = torch.arange(len(images)) % CLASSES
    ours, theirs = [], []
    for architecture in architectures:
        subnet = supernet.subnet(architecture).train()
        alone = architecture.build().train()
        alone.load_state_dict(subnet.state())
        ours.append(partial(step, subnet, tuple(supernet.parameters()), images, targets))
        theirs.append(partial(step, alone, tuple(alone.parameters()), images, targets))
    return compare(partial(each, ours), partial(each, theirs), rounds)


def each(actions: Iterable[Action]) -> None:
    """All actions, one after the other."""
    for action in actions:
        action()


def step(network: nn.Module, parameters: tuple[nn.Parameter, ...], images: Tensor, targets: Tensor) -> None:
    """Gradients of one batch, from none."""
    for parameter in parameters:
        parameter.grad = None
    F.cross_entropy(network(images), targets).backward()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small images and few rounds: shows that it runs")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of steps for each ratio")
    parser.add_argument("--pixels", type=int, default=32, help="height and width of the mobilenet's images")
    parser.add_argument("--batch", type=int, default=32, help="images in the mobilenet's step")
    return parser.parse_args()


if __name__ == "__main__":
    main()
