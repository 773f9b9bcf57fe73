"""Recurrent controllers over the decisions of a space; what imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from nas.problem import Floats, Genes

TANH = 2.5
"""Logits are bounded to this (ENAS, section 3), and not divided by 5 before, which is for many thousands of steps."""
RANGE = 0.1
"""Weights begin uniform within this (ENAS, section 3)."""


Loss = Callable[[nn.Module, Tensor], Tensor]
"""Of one step, from the controller and the advantages [n]."""


class Sequential(nn.Module):
    """The controller of ENAS: an LSTM that takes one decision after the other, each its next input.

    Args:
        sizes: number of options of each decision.
        objectives: length of the direction that is the first input, in place of the published empty one.
        hidden: width.
        rng: of the first weights.
    """

    def __init__(self, sizes: Genes, objectives: int, hidden: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.sizes = tuple(int(size) for size in sizes)
        self.starts = tuple(int(start) for start in np.cumsum(sizes) - sizes)
        self.start = nn.Linear(objectives, hidden)
        self.options = nn.Embedding(sum(self.sizes), hidden)
        self.cell = nn.LSTMCell(hidden, hidden)
        self.choice = nn.Linear(hidden, sum(self.sizes))
        self.recall = nn.Linear(hidden, sum(self.sizes))
        _begin(self, rng)

    def sample(self, toward: Floats, rng: np.random.Generator) -> Genes:
        """A row [n, decisions] for each direction [n, m]."""
        with torch.no_grad():
            drawn = rng.random((len(self.sizes), len(toward)))
            picks: list[Tensor] = []

            def pick(number: int, logits: Tensor) -> Tensor:
                upper = functional.softmax(logits.double(), dim=1).cumsum(dim=1)
                above = torch.from_numpy(drawn[number])[:, None] >= upper[:, :-1]
                picks.append(above.sum(dim=1))
                return picks[-1]

            self._walk(toward, pick)
            return torch.stack(picks, dim=1).numpy()

    def score(self, toward: Floats, rows: Genes) -> tuple[Tensor, Tensor]:
        """The logarithm of the probability of each row [n], and the entropy [n] on its way."""
        given, likely, entropy = torch.from_numpy(rows), list[Tensor](), list[Tensor]()

        def pick(number: int, logits: Tensor) -> Tensor:
            logs = functional.log_softmax(logits, dim=1)
            likely.append(logs.gather(1, given[:, number : number + 1])[:, 0])
            entropy.append(-(logs.exp() * logs).sum(dim=1))
            return given[:, number]

        self._walk(toward, pick)
        return torch.stack(likely).sum(dim=0), torch.stack(entropy).sum(dim=0)

    def forgotten(self, toward: Floats, rows: Genes) -> Tensor:
        """The cross-entropy with which the last state tells each decision of the rows [n, decisions]."""
        given = torch.from_numpy(rows)
        told = self.recall(self._walk(toward, lambda number, logits: given[:, number]))
        losses = [functional.cross_entropy(part, given[:, n]) for n, part in enumerate(told.split(self.sizes, dim=1))]
        return torch.stack(losses).mean()

    def _walk(self, toward: Floats, pick: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Makes each decision as `pick` says from its logits [n, options]; returns the state [n, hidden] behind all."""
        entered = self.start(torch.from_numpy(toward).float())
        state = (torch.zeros_like(entered), torch.zeros_like(entered))
        for number, (start, size) in enumerate(zip(self.starts, self.sizes, strict=True)):
            state = self.cell(entered, state)
            logits = functional.linear(
                state[0], self.choice.weight[start : start + size], self.choice.bias[start : start + size]
            )
            entered = self.options(start + pick(number, TANH * torch.tanh(logits / TANH)))
        found: Tensor = self.cell(entered, state)[0]
        return found


class Growing(nn.Module):
    """The actors of EAS: a bidirectional LSTM reads a network, and what is to grow is decided from its states.

    Args:
        sizes: number of options of each decision.
        objectives: length of the direction that is added to each input.
        hidden: width, of each direction of reading.
        rng: of the first weights.
    """

    def __init__(self, sizes: Genes, objectives: int, hidden: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.starts = torch.from_numpy(np.cumsum(sizes) - sizes)
        self.options = nn.Embedding(int(np.sum(sizes)), hidden)
        self.start = nn.Linear(objectives, hidden)
        self.forwards, self.backwards = nn.LSTMCell(hidden, hidden), nn.LSTMCell(hidden, hidden)
        self.wider = nn.Linear(2 * hidden, 1)
        self.deeper = nn.Linear(2 * hidden, 1)
        _begin(self, rng)

    def forward(self, toward: Floats, rows: Genes) -> tuple[Tensor, Tensor]:
        """Logits [n, decisions] of growing each decision: by itself, and against all others and none, which is 0."""
        options = self.options(torch.from_numpy(rows) + self.starts)
        inputs = (options + self.start(torch.from_numpy(toward).float())[:, None]).unbind(dim=1)
        both = (_read(self.forwards, inputs), _read(self.backwards, inputs[::-1])[::-1])
        read = torch.cat([torch.stack(states, dim=1) for states in both], dim=2)
        return self.wider(read)[..., 0], self.deeper(read)[..., 0]


def _read(cell: nn.LSTMCell, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The states [n, hidden] behind each of the inputs [n, hidden]; faster than `nn.LSTM` on so few."""
    state = (torch.zeros_like(inputs[0]), torch.zeros_like(inputs[0]))
    found = []
    for entered in inputs:
        state = cell(entered, state)
        found.append(state[0])
    return found


@dataclass(frozen=True)
class Trained:
    """A controller after some steps of Adam (arXiv:1412.6980, algorithm 1), and the moving average of its rewards.

    `torch.optim` would import its compiler, which takes longer than a search.
    """

    controller: nn.Module
    learning_rate: float
    first: Tensor
    """Moving average of the gradients of all parameters, one after the other."""
    second: Tensor
    """That of their squares."""
    steps: int = 0
    baseline: Floats | None = None

    @classmethod
    def begun(cls, controller: nn.Module, learning_rate: float) -> Trained:
        """Before the first step."""
        nothing = torch.zeros_like(parameters_to_vector(controller.parameters()).detach())
        return cls(controller, learning_rate, nothing, nothing)

    def step(self, rewards: Floats, decay: float, loss: Loss, times: int = 1) -> Trained:
        """What it is after so many steps on rewards [n, ...] over their moving average [...]; self stays."""
        mean = rewards.mean(axis=0)
        baseline = mean if self.baseline is None else decay * self.baseline + (1 - decay) * mean
        advantages = torch.from_numpy(rewards - baseline).float()
        found = replace(self, controller=deepcopy(self.controller), baseline=baseline)
        for _ in range(times):
            found = found._moved(loss(found.controller, advantages))
        return found

    def _moved(self, loss: Tensor) -> Trained:
        """One step down the loss; the controller is changed in place."""
        weights, n = list(self.controller.parameters()), self.steps + 1
        slopes = zip(weights, torch.autograd.grad(loss, weights, allow_unused=True), strict=True)
        slope = parameters_to_vector([torch.zeros_like(w) if part is None else part for w, part in slopes])
        first, second = 0.9 * self.first + 0.1 * slope, 0.999 * self.second + 0.001 * slope**2
        change = first / (1 - 0.9**n) / ((second / (1 - 0.999**n)).sqrt() + 1e-8)
        with torch.no_grad():
            vector_to_parameters(parameters_to_vector(weights) - self.learning_rate * change, weights)
        return replace(self, first=first, second=second, steps=n)


def _begin(module: nn.Module, rng: np.random.Generator) -> None:
    """Uniform weights from the generator alone."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(rng.uniform(-RANGE, RANGE, tuple(parameter.shape))))
