"""Attention over the graph of a network, in a deep ensemble.

The network is in `predictors/_graph_attention.py`. The ensemble is that of Lakshminarayanan et al. 2017
(arXiv:1612.01474): members from different initial weights see the examples in different orders, each learns a mean and
a variance by likelihood (equation 1), and together they are a mixture (section 2.4). The likelihood is weighted by the
square root of the variance ("beta-NLL", Seitzer et al. 2022, arXiv:2203.09168, equation 7), without which early
guesses of a large variance keep means from being learned. Variances are then multiplied by what squared errors are of
them on the examples that a member has not seen, an eighth for each (as temperature scaling does for classes, Guo et
al. 2017): likelihoods of examples that were learned by heart tell nothing about others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from predictors._arrays import inner, nested, number
from predictors._graph_attention import Batch, Ensemble, Lookup, Shape
from predictors._latent import LatentModel, Target
from predictors._regression import Singles, Standard
from predictors._relations import graphs, relations
from predictors._role import Arrays, Examples, Predictor
from predictors.encodings._role import Encoding, Floats, Genes

_BETA = 0.5
_QUIETEST = -9.0
"""Least log variance of standardized values, to which a member's is bounded softly."""


class GraphNetwork(Predictor):
    """Attention over the architecture's graph, biased by hops between operators; a deep ensemble."""

    members: Annotated[int, Field(ge=2, description="networks, trained at once")] = 3
    width: Annotated[int, Field(ge=2, description="of queries, keys and values")] = 8
    hidden: Annotated[int, Field(ge=1, description="of the feed-forward")] = 32
    steps: Annotated[int, Field(ge=1, description="of AdamW, whatever the number of examples")] = 500
    batch: Annotated[int, Field(ge=1, description="examples a step and member")] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.1

    def fit(self, examples: Examples) -> GraphNetworkModel:
        """A model whose deviations come from the members' variances and their disagreement."""
        self.check(examples)
        target = Target.of(self.target, examples)
        values = torch.from_numpy(target.latent(examples.values)).float()
        sums = Sums.of(examples)
        batch = _batch(sums, examples.matrix)
        generator = torch.Generator().manual_seed(examples.seed)
        shape = Shape(batch.tokens.shape[1], examples.encoding.vocabulary, batch.sums.shape[1], self.width, self.hidden)
        ensemble = Ensemble.initial(shape, self.members, generator)
        order = torch.rand(self.members, len(values), generator=generator).argsort(1)
        unseen, seen = order.tensor_split([-(-len(values) // 8)], dim=1)
        self._train(ensemble, batch, values, _Passes(seen, self.batch, generator))
        ensemble = ensemble.detached()
        calibration = _calibration(ensemble, batch[unseen], values[unseen])
        return GraphNetworkModel(sums, target, ensemble, calibration)

    def restore(self, encoding: Encoding, arrays: Arrays) -> GraphNetworkModel:
        """The model of these arrays."""
        target, ensemble = Target.restore(inner("target", arrays)), Ensemble.restore(inner("ensemble", arrays))
        sums = Sums(encoding, np.asarray(arrays["typical"], dtype=float), Standard.restore(inner("sums", arrays)))
        return GraphNetworkModel(sums, target, ensemble, number(arrays, "calibration"))

    def _train(self, ensemble: Ensemble, batch: Batch, values: Tensor, passes: _Passes) -> None:
        """AdamW under a cosine that ends at 0, with rows of its own for each member at each step."""
        parameters = list(ensemble.parameters.values())
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, self.steps, pct_start=0.1)
        for _ in range(self.steps):
            rows = passes.draw()
            optimizer.zero_grad()
            loss(*ensemble.forward(batch[rows]), values[rows]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, math.sqrt(self.members))
            optimizer.step()
            schedule.step()


@dataclass(frozen=True)
class Sums:
    """log(1 + amount / typical amount) of each physical quantity, standardized."""

    encoding: Encoding
    typical: Floats
    standard: Standard

    @classmethod
    def of(cls, examples: Examples) -> Self:
        """Those for these examples."""
        amounts = examples.encoding.physics(examples.matrix)
        typical = np.maximum(amounts.mean(axis=0), 1e-9)
        return cls(examples.encoding, typical, Standard.of(np.log1p(amounts / typical).astype(np.float32)))

    def __call__(self, matrix: Genes) -> Singles:
        """[n, decisions] -> [n, those that vary]."""
        return self.standard(np.log1p(self.encoding.physics(matrix) / self.typical).astype(np.float32))


class GraphNetworkModel(LatentModel):
    """An ensemble, with what it looks up worked out."""

    at_once = 1 << 16

    def __init__(self, sums: Sums, target: Target, ensemble: Ensemble, calibration: float) -> None:
        super().__init__(sums.encoding, target)
        self.sums, self.ensemble, self.lookup, self.calibration = sums, ensemble, Lookup.of(ensemble), calibration

    @torch.no_grad()
    def latent(self, matrix: Genes) -> tuple[Floats, Floats]:
        """The moments of the members' mixture."""
        edges, rows = graphs(self.encoding.edges(matrix))
        seen = (self.encoding.tokens(matrix), relations(edges), rows, self.sums(matrix))
        means, logs = self.lookup(*(torch.from_numpy(array) for array in seen))
        variances = bounded(logs).exp() * self.calibration
        mean = means.mean(0)
        variance = (variances + (means - mean) ** 2).mean(0)
        return mean.double().numpy(), variance.double().numpy()

    def arrays(self) -> Arrays:
        """The target, all weights, what standardizes physical amounts, and the factor on variances."""
        parts = nested("target", self.target.arrays()) | nested("ensemble", self.ensemble.arrays())
        sums = nested("sums", self.sums.standard.arrays()) | {"typical": self.sums.typical}
        return parts | sums | {"calibration": np.asarray(self.calibration)}


def loss(means: Tensor, logs: Tensor, values: Tensor) -> Tensor:
    """The members' beta-NLL, each averaged over its rows, added up: [members, n] each -> []."""
    logs = bounded(logs)
    variances = logs.exp()
    likelihood = 0.5 * (logs + (values - means) ** 2 / variances)
    return (likelihood * variances.detach() ** _BETA).mean(1).sum()


def bounded(logs: Tensor) -> Tensor:
    """Log variances above `_QUIETEST`."""
    return _QUIETEST + torch.nn.functional.softplus(logs - _QUIETEST)


def _batch(sums: Sums, matrix: Genes) -> Batch:
    encoding, tokens = sums.encoding, sums.encoding.tokens(matrix)
    found, rows = graphs(encoding.edges(matrix))
    related = torch.from_numpy(relations(found)[rows])
    return Batch(
        torch.from_numpy(np.maximum(tokens, 0)), torch.from_numpy(tokens >= 0), related, torch.from_numpy(sums(matrix))
    )


@torch.no_grad()
def _calibration(ensemble: Ensemble, unseen: Batch, values: Tensor) -> float:
    """The mean squared error over the variance on unseen rows [members, n]; the prior, 1, counts as one of them."""
    means, logs = ensemble.forward(unseen)
    ratios = (values - means) ** 2 / bounded(logs).exp()
    return float((ratios.sum() + 1) / (ratios.numel() + 1))


class _Passes:
    """Each member's shuffled passes over its rows [members, n]."""

    def __init__(self, rows: Tensor, size: int, generator: torch.Generator) -> None:
        self.rows, self.size, self.generator = rows, min(size, rows.shape[1]), generator
        self.left: list[Tensor] = []

    def draw(self) -> Tensor:
        """The next rows of each member: [members, size]."""
        if not self.left:
            order = torch.rand(self.rows.shape, generator=self.generator).argsort(1)
            shuffled = self.rows.gather(1, order)
            self.left = [rows for rows in shuffled.split(self.size, dim=1) if rows.shape[1] == self.size]
        return self.left.pop()
