"""Which kind of configuration a file is: a search over networks, a search over a table, or a comparison on a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.comparison import Comparison
from nas.config import Experiment, described, experiment, read_source
from nas.lookup import Lookup
from nas.tasks.tabular import Tabular
from searchspaces.networks._role import Signature
from searchspaces.space import SearchSpace

Configuration = Experiment | Lookup | Comparison


def read_any(path: Path, overrides: Sequence[str] = ()) -> Configuration:
    """What a YAML file describes, with `a.b=value` overrides applied.

    Raises:
        nas.config.ConfigurationError: with every fault and its place.
    """
    source = read_source(path, overrides)
    task = source.data.get("task") if isinstance(source.data, dict) else None
    if not isinstance(task, dict) or task.get("kind") != Tabular.kind():
        return experiment(source)
    if {"strategies", "rivals"} & source.data.keys():
        return described(source, Comparison)
    return described(source, Lookup)


def outline(found: Configuration) -> str:
    """What there is to choose from, in a few words; no data are read."""
    if isinstance(found, Comparison):
        return f"{len(found.strategies)} strategies and {len(found.rivals)} rivals, {found.seeds} seeds each"
    if isinstance(found, Lookup):
        return f"{found.strategy.evaluations:,} evaluations by {found.strategy.kind()} on a table"
    space = SearchSpace.of(found.space, Signature((1, 1, 1), 1))
    return f"{len(space.decisions)} decisions, {space.count:,} architectures"
