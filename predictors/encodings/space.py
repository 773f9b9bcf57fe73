"""The encoding of our own search spaces: blocks at places, what they cost, and what a profile measured of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hardware.profile import Profile
from predictors.encodings._arrays import chain, one_hot
from predictors.encodings._role import Contributions, Encoding, Floats, Genes
from searchspaces.cost import cost
from searchspaces.placements import Placements, Slot, Unit

PHYSICS = ("macs", "depthwise_macs", "activation_bytes", "parameters", "kernels")


class SpaceEncoding(Encoding):
    """Rows of a `SearchSpace`. A token is a unit: a decided block at the shape of its input.

    Args:
        placements: of the space.
        profile: of its blocks on the backend whose latency is predicted; without one there is no table.
    """

    def __init__(self, placements: Placements, profile: Profile | None = None) -> None:
        self.placements, self.profile = placements, profile

    @cached_property
    def signature(self) -> str:
        """A digest of the decisions, of what they put where, and of the table's values."""
        placements, table = self.placements, self.contributions
        decisions = [[d.name, len(d.options), d.parent, sorted(d.parent_options)] for d in placements.space.decisions]
        units = [[unit.part.describe(), unit.shape] for unit in placements.units]
        slots = [
            [slot.path, [[n, sorted(options)] for n, options in slot.guards], slot.own.tolist(), slot.unit.tolist()]
            for slot in placements.slots
        ]
        text = json.dumps([placements.space.input_shape, decisions, units, slots], sort_keys=True)
        values = b"" if table is None else np.append(table.values, table.overhead).tobytes()
        return f"space:{hashlib.sha256(text.encode() + values).hexdigest()}"

    @property
    def sizes(self) -> Genes:
        """Number of options of each decision: [decisions]."""
        return self.placements.space.sizes

    @property
    def vocabulary(self) -> int:
        """How many units the space has."""
        return len(self.placements.units)

    @cached_property
    def contributions(self) -> Contributions | None:
        """The profile's overhead and each unit's measured contribution in milliseconds."""
        if self.profile is None:
            return None
        return Contributions(self.profile.overhead_ms, self.profile.contributions_ms(self.placements.units))

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Drawn uniformly over the architectures."""
        return self.placements.space.sample(rng, n)

    def features(self, matrix: Genes) -> npt.NDArray[np.float32]:
        """Options of active decisions, log(1 + amount) of physics, the number of blocks, log of the table's sum."""
        amounts = np.zeros((len(matrix), self._packed.shape[1]), dtype=np.float32)
        for units in self.tokens(matrix).T:
            amounts += self._packed.take(units, axis=0, mode="wrap")
        options = one_hot(matrix, self.sizes, self.placements.space.active(matrix))
        return np.concatenate([options, np.log1p(amounts[:, : self._amounts.shape[1]])], axis=1)

    def physics(self, matrix: Genes) -> Floats:
        """Sums over blocks of MACs, depthwise MACs, activation bytes, parameters and kernels."""
        found: Floats = self._amounts[:, : len(PHYSICS)][self.tokens(matrix)].sum(axis=1)
        return found

    def tokens(self, matrix: Genes) -> Genes:
        """The unit in each slot."""
        return self.placements.of(matrix)

    def edges(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """Each block reads the one before it, but for the blocks of graphs."""
        tokens, slots = self.tokens(matrix), self.placements.slots
        return chain(tokens) if all(slot.place == "chain" for slot in slots) else _wired(tokens, slots)

    @cached_property
    def _amounts(self) -> Floats:
        """[units + 1, p]: of each unit its physics, 1, and its microseconds by the table; 0 for the absent one."""
        columns = [*_physics(self.placements.units).T, np.ones(self.vocabulary)]
        if self.contributions is not None:
            known = self.contributions.values
            columns.append(np.where(np.isfinite(known), known, 0.0) * 1e3)
        return np.append(np.stack(columns, axis=1), np.zeros((1, len(columns))), axis=0)

    @cached_property
    def _packed(self) -> npt.NDArray[np.float32]:
        """The same, in rows of 32 bytes, which numpy copies several times faster than those of other lengths."""
        width = -self._amounts.shape[1] % 8
        return np.pad(self._amounts, ((0, 0), (0, width))).astype(np.float32)


def _wired(tokens: Genes, slots: Sequence[Slot]) -> npt.NDArray[np.bool_]:
    """Which slot's block reads which other's: [n, t] -> [n, t, t]."""
    edges = np.zeros((*tokens.shape, tokens.shape[1]), dtype=bool)
    latest = {-1: np.full(len(tokens), -1), -2: np.full(len(tokens), -1)}
    rows, used = np.arange(len(tokens)), tokens >= 0
    for number, slot in enumerate(slots):
        for source in slot.reads:
            read = latest[source] if source < 0 else np.full(len(tokens), source)
            there = used[:, number] & (read >= 0)
            edges[rows[there], read[there], number] = used[rows[there], read[there]]
        if slot.place in ("chain", "output"):
            before = latest[-1] if slot.place == "output" else number
            latest[-2] = np.where(used[:, number], before, latest[-2])
            latest[-1] = np.where(used[:, number], number, latest[-1])
    return edges


def _physics(units: list[Unit]) -> Floats:
    """The costs of each unit: [units, p]."""
    costs = [cost(unit.part, unit.shape) for unit in units]
    return np.array([[getattr(found, name) for name in PHYSICS] for found in costs], dtype=float).reshape(
        len(units), -1
    )
