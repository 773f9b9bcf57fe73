"""Attention over the graphs of networks, for an ensemble of small models at once.

    node    x_i = silu(E[token_i] + P[i])                                     a function of (place, token)
    weights a_ij = softmax_j(q_i . k_j + b[relation_ij])                      Graphormer (arXiv:2106.05234), equation 6
    pooled  z = sum_i u_i + W sum_i (g_i * sum_j a_ij v_j) + A s              pooled before the feed-forward
    outputs mean, log variance = linear(z) + MLP(z)

q, k, g, v, u are linear in x, so they are functions of (place, token) as well: predictions look them up in tables, and
only attention and the feed-forward are left to compute. s are standardized sums over the
whole network, such as MACs, from which tokens that no example had are known. g gates what a token receives. The last
component of v is 1, so that one product gives numerator and denominator of the softmax; tables hold zeros for absent
tokens, which leaves them out of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from predictors._relations import RELATIONS
from predictors._role import Arrays

LARGEST = 30.0
"""Scores are clamped to this, so that exponentials stay finite."""


@dataclass(frozen=True)
class Shape:
    """Sizes of one member.

    Attributes:
        places: tokens of a network at most.
        vocabulary: number of different tokens.
        sums: over a network, how many there are.
        width: of queries, keys, values and gates.
        hidden: of the pooled vector and the feed-forward.
    """

    places: int
    vocabulary: int
    sums: int
    width: int
    hidden: int

    @property
    def parts(self) -> list[int]:
        """Widths of query, key, gate, value (whose last component is always 1), and what is summed up directly."""
        return [self.width] * 3 + [self.width - 1, self.hidden]


@dataclass(frozen=True)
class Batch:
    """Rows as the network sees them.

    Attributes:
        tokens: [..., n, t], in 0 .. vocabulary - 1; anything where absent.
        present: [..., n, t].
        relations: [..., n, t, t].
        sums: [..., n, s].
    """

    tokens: Tensor
    present: Tensor
    relations: Tensor
    sums: Tensor

    def __getitem__(self, rows: Tensor) -> Batch:
        return Batch(self.tokens[rows], self.present[rows], self.relations[rows], self.sums[rows])


@dataclass(frozen=True)
class Ensemble:
    """The parameters of all members, each with a leading axis [members]."""

    parameters: Mapping[str, Tensor]

    @classmethod
    def initial(cls, shape: Shape, members: int, generator: torch.Generator) -> Self:
        """Random parameters; attention starts without regard to relations, outputs start at 0."""

        def normal(*sizes: int, scale: float) -> Tensor:
            return (scale * torch.randn(members, *sizes, generator=generator)).requires_grad_()

        d = h = shape.hidden
        node = normal(d, sum(shape.parts), scale=1 / math.sqrt(d))
        with torch.no_grad():
            node[..., : 2 * shape.width] /= shape.width**0.25
            node[..., -h:] /= math.sqrt(shape.places)
        return cls(
            {
                "token": normal(shape.vocabulary, d, scale=0.3),
                "place": normal(shape.places, d, scale=1.0),
                "node": node,
                "relation": normal(RELATIONS, scale=0.0),
                "mix": normal(shape.width, h, scale=1 / math.sqrt(shape.width * shape.places)),
                "sums": normal(shape.sums, h, scale=1 / math.sqrt(max(shape.sums, 1))),
                "bias1": normal(h, scale=0.0),
                "layer1": normal(h, h, scale=math.sqrt(2 / h)),
                "bias2": normal(h, scale=0.0),
                "bias3": normal(2, scale=0.0),
                "linear": normal(h, 2, scale=0.0),
                "output": normal(h, 2, scale=0.0),
            }
        )

    def tables(self) -> Tensor:
        """q, k, g, v, u of every token at every place: [members, t, vocabulary, parts]."""
        p = self.parameters
        return functional.silu(p["token"][:, None] + p["place"][:, :, None]) @ p["node"][:, None]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log variance of each member's own rows: [members, n, t] -> [members, n] and [members, n]."""
        p, shape = self.parameters, self.shape
        members = torch.arange(len(p["token"]))[:, None, None]
        x = functional.silu(p["token"][members, batch.tokens] + p["place"][:, None]) @ p["node"][:, None]
        q, k, g, v, u = (x * batch.present[..., None]).split(shape.parts, dim=-1)
        scores = (q @ k.mT + p["relation"][members[..., None], batch.relations]).clamp(-LARGEST, LARGEST)
        weights = scores.masked_fill(~batch.present[..., None, :], -torch.inf)
        weights = weights.masked_fill(~batch.present.any(-1)[..., None, None], 0.0).softmax(-1)
        received = weights @ functional.pad(v, (0, 1), value=1.0)
        return self.head(u.sum(-2) + (g * received).sum(-2) @ p["mix"], batch.sums)

    def head(self, pooled: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The feed-forward: [members, n, hidden] and [..., n, s] -> [members, n] and [members, n]."""
        p = self.parameters
        z = pooled + sums @ p["sums"] + p["bias1"][:, None]
        h = functional.relu(torch.baddbmm(p["bias2"][:, None], functional.relu(z), p["layer1"]))
        mean, variance = (h @ p["output"] + z @ p["linear"] + p["bias3"][:, None]).unbind(-1)
        return mean, variance

    @property
    def shape(self) -> Shape:
        """The sizes, read off the parameters."""
        p = self.parameters
        return Shape(p["place"].shape[1], p["token"].shape[1], p["sums"].shape[1], *p["mix"].shape[1:])

    def detached(self) -> Self:
        """Without gradients."""
        return type(self)({name: value.detach() for name, value in self.parameters.items()})

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All weights."""
        return {name: value.numpy() for name, value in self.parameters.items()}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """From `arrays()`."""
        return cls({name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()})


@dataclass(frozen=True)
class Lookup:
    """An ensemble as tables over (place, token), of which the last token is absent.

    Attributes:
        attended: q, k, g, v of each member, [members][t (vocabulary + 1), 4 width].
        summed: u of each member, [members][t (vocabulary + 1), hidden].
    """

    ensemble: Ensemble
    attended: tuple[Tensor, ...]
    summed: tuple[Tensor, ...]

    @classmethod
    def of(cls, ensemble: Ensemble) -> Self:
        """The tables of these weights."""
        width = ensemble.shape.width
        with torch.no_grad():
            tables = ensemble.tables()
            parts = functional.pad(tables[..., : 4 * width - 1], (0, 1), value=1.0), tables[..., 4 * width - 1 :]
            attended, summed = (functional.pad(part, (0, 0, 0, 1)).flatten(1, 2).contiguous() for part in parts)
        return cls(ensemble, attended.unbind(), summed.unbind())

    def __call__(self, tokens: Tensor, relations: Tensor, number: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance: [members, n] and [members, n]. Rows are taken graph by graph, for the cache's sake.

        Args:
            tokens: [n, t], -1 where absent.
            relations: of the different graphs [u, t, t].
            number: the graph of each row [n].
            sums: [n, s].
        """
        vocabulary, places = self.ensemble.shape.vocabulary, self.ensemble.shape.places
        number, order = number.sort()
        entries = (torch.where(tokens < 0, vocabulary, tokens) + torch.arange(places) * (vocabulary + 1))[order]
        pooled = torch.empty(len(self.summed), len(tokens), self.ensemble.shape.hidden)
        scores = torch.empty(_ROWS, places, places)
        for member, weights in enumerate(self.ensemble.parameters["relation"]):
            biases = weights[relations.mT]
            for at in range(0, len(tokens), _ROWS):
                some = slice(at, at + _ROWS)
                bias = torch.index_select(biases, 0, number[some], out=scores[: len(number[some])])
                pooled[member, some] = self._pool(member, entries[some], bias)
        mean, variance = self.ensemble.head(pooled, sums[order])
        back = order.argsort()
        return mean[:, back], variance[:, back]

    def _pool(self, member: int, entries: Tensor, bias: Tensor) -> Tensor:
        """The pooled vector of one member: [n, t] and [n, t, t], keys before queries -> [n, hidden].

        The bias is used up: memory that is allocated once stays in the cache. Matrices are transposed, which is the
        form that small products are fastest in.
        """
        width = self.ensemble.shape.width
        q, k, g, v = functional.embedding(entries, self.attended[member]).split(width, dim=-1)
        weights = bias.baddbmm_(k, q.mT).clamp_(-LARGEST, LARGEST).exp_()
        received = torch.bmm(v.mT, weights)
        received /= received[:, -1:].clamp(min=_TINY)
        summed = functional.embedding_bag(entries, self.summed[member], mode="sum")
        return torch.addmm(summed, (g.mT * received).sum(2), self.ensemble.parameters["mix"][member])


_ROWS = 512
"""Rows whose attention fits a cache."""
_TINY = 1e-30
"""Instead of the denominator of a network without tokens."""
