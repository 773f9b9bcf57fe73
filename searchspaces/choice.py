"""Choices left open in a description, and what can be done with an open value.

A value is a part, a tuple of values or a plain scalar; while it is open it may hold `Choice` and `Subset` anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from searchspaces.part import Part, describe


@dataclass(frozen=True)
class Choice:
    """One decision: `{choice: [...]}` in YAML.

    The path is where it stands in the description and is its identity: one choice used in two places is one decision.
    """

    path: str
    options: tuple[Any, ...]

    def describe(self) -> dict[str, Any]:
        """The YAML form."""
        return {"choice": [describe_open(option) for option in self.options]}


@dataclass(frozen=True)
class Subset:
    """Some of the items, in their order. Always a tuple once decided."""

    chosen: Any
    """Ascending indices of the items, or a choice of such tuples."""
    items: tuple[Any, ...]

    def indices(self, chosen: Any) -> Sequence[int]:
        """The items that one value of `chosen` stands for."""
        found: tuple[int, ...] = chosen
        return found

    def pick(self, chosen: Any) -> tuple[Any, ...]:
        """The items that one value of `chosen` leaves."""
        return tuple(self.items[index] for index in self.indices(chosen))

    def using(self, index: int) -> frozenset[int]:
        """The options of the choice under which an item is there."""
        return frozenset(o for o, chosen in enumerate(self.chosen.options) if index in self.indices(chosen))


@dataclass(frozen=True)
class Depth(Subset):
    """Elastic depth: the first `count` of the items, a number or a choice of numbers."""

    @property
    def count(self) -> Any:
        """How many items, or the choice of that."""
        return self.chosen

    def indices(self, chosen: int) -> Sequence[int]:
        """The first ones."""
        return range(min(chosen, len(self.items)))


@dataclass(frozen=True)
class Places(Subset):
    """Some of the items, each at its own place: an empty tuple stands where one is left out."""

    def pick(self, chosen: Any) -> tuple[Any, ...]:
        """As many as there are items."""
        kept = self.indices(chosen)
        return tuple(item if index in kept else () for index, item in enumerate(self.items))


def describe_open(value: Any) -> Any:
    """Plain data of an open value, as the YAML would say it."""
    if isinstance(value, Choice):
        return value.describe()
    if isinstance(value, Part):
        return {"kind": value.kind(), **{name: describe_open(field) for name, field in value.items()}}
    if isinstance(value, tuple):
        return [describe_open(item) for item in value]
    return describe(value)


def is_open(value: Any) -> bool:
    """Whether anything in the value is left to choose."""
    if isinstance(value, Part):
        return any(is_open(field) for _, field in value.items())
    if isinstance(value, tuple):
        return any(map(is_open, value))
    return isinstance(value, Choice | Subset)


def rebuild(part: Part, values: dict[str, Any]) -> Part:
    """The same kind of part with other field values, validated as soon as nothing is open."""
    if any(is_open(value) for value in values.values()):
        return type(part).opened(**values)
    return type(part)(**values)


def transform(value: Any, leaf: Callable[[Choice | Subset], Any]) -> Any:
    """A copy of the value in which each outermost choice and subset is replaced by what `leaf` makes of it."""
    if isinstance(value, Choice | Subset):
        return leaf(value)
    if isinstance(value, tuple):
        return tuple(transform(item, leaf) for item in value)
    if isinstance(value, Part) and is_open(value):
        return rebuild(value, {name: transform(field, leaf) for name, field in value.items()})
    return value


def decide(value: Any, pick: Callable[[Choice], int]) -> Any:
    """The value with each choice replaced by its option number `pick(choice)`."""

    def leaf(node: Choice | Subset) -> Any:
        if isinstance(node, Choice):
            return decide(node.options[pick(node)], pick)
        return decide(node.pick(decide(node.chosen, pick)), pick)

    return transform(value, leaf)


def paths(value: Any) -> frozenset[str]:
    """The paths of all choices in an open value."""
    if isinstance(value, Choice):
        return frozenset({value.path}).union(*map(paths, value.options))
    if isinstance(value, Subset):
        return paths(value.chosen) | paths(value.items)
    if isinstance(value, tuple):
        return frozenset().union(*map(paths, value))
    return frozenset().union(*(paths(field) for _, field in value.items())) if isinstance(value, Part) else frozenset()


def renamed(value: Any, which: frozenset[str], suffix: str) -> Any:
    """A copy whose choices of the given paths are decisions of their own, named with the suffix."""

    def leaf(node: Choice | Subset) -> Any:
        if isinstance(node, Subset):
            return type(node)(renamed(node.chosen, which, suffix), renamed(node.items, which, suffix))
        path = node.path + suffix if node.path in which else node.path
        return Choice(path, tuple(renamed(option, which, suffix) for option in node.options))

    return transform(value, leaf)


def forms(value: Any, picks: dict[str, int] | None = None) -> Iterator[tuple[Any, dict[str, int]]]:
    """Every decided form of an open value, with the option numbers by path that make it so."""
    picks = picks or {}
    if isinstance(value, Choice):
        fixed = picks.get(value.path)
        for option in range(len(value.options)) if fixed is None else (fixed,):
            yield from forms(value.options[option], {**picks, value.path: option})
    elif isinstance(value, Subset):
        for indices, chosen in forms(value.chosen, picks):
            yield from forms(value.pick(indices), chosen)
    elif isinstance(value, tuple):
        yield from _sequences(value, picks)
    elif isinstance(value, Part) and is_open(value):
        names = [name for name, _ in value.items()]
        for fields, chosen in _sequences(tuple(field for _, field in value.items()), picks):
            yield rebuild(value, dict(zip(names, fields, strict=True))), chosen
    else:
        yield value, picks


def _sequences(values: tuple[Any, ...], picks: dict[str, int]) -> Iterator[tuple[tuple[Any, ...], dict[str, int]]]:
    """The decided forms of several values that share their decisions."""
    if not values:
        yield (), picks
        return
    for first, chosen in forms(values[0], picks):
        for rest, all_chosen in _sequences(values[1:], chosen):
            yield (first, *rest), all_chosen


def variants(value: Any) -> Iterator[Any]:
    """Every decided form of an open value."""
    return (form for form, _ in forms(value))


def overlap(first: Any, second: Any) -> bool:
    """Whether two open values have a decided form in common."""
    if isinstance(first, Choice):
        return any(overlap(option, second) for option in first.options)
    if isinstance(second, Choice):
        return overlap(second, first)
    if isinstance(first, Part) and isinstance(second, Part):
        fields = zip(first.items(), second.items(), strict=False)
        return type(first) is type(second) and all(overlap(a, b) for (_, a), (_, b) in fields)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(overlap, first, second))
    return bool(first == second) and type(first) is type(second)
