"""How a network was constructed, as Python expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import nn

from hardware.measurement import MeasurementError
from searchspaces.architecture import Architecture
from searchspaces.wiring import Wired

WIDTH = 120
"""Characters in a line."""

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of a constructor."""

Namer = Callable[[type], str]
"""The name by which source refers to a class of ours."""


def construction(architecture: Architecture, name: Namer) -> tuple[str, list[str]]:
    """The class of a network, and source of the arguments that construct it, for a place eight characters in.

    Raises:
        MeasurementError: a module takes something that no source can say.
    """
    with torch.random.fork_rng(devices=[]):
        classes = {type(module) for module in architecture.build(quantize=False).modules()}
        with _recording(classes) as calls:
            network = architecture.build(quantize=False)
    blocks = [_module(block, calls, name) for block in network]
    wires = [_expression(network.wires, calls, name)] if isinstance(network, Wired) else []
    return _class_name(type(network), name), [part.text(indent=8, reserve=1) for part in (*wires, *blocks)]


def literal(value: Any, indent: int = 0, reserve: int = 0) -> str:
    """Source of a plain value, broken into lines where it is long.

    Args:
        value: numbers, texts, and containers of them.
        indent: characters before each line but the first.
        reserve: characters that the first line has before it.
    """
    return _expression(value, {}, lambda cls: cls.__name__).text(indent, reserve)


@contextmanager
def _recording(classes: set[type]) -> Iterator[dict[nn.Module, Call]]:
    """Notes the arguments with which modules of these classes are constructed in this context."""
    calls: dict[nn.Module, Call] = {}
    with ExitStack() as stack:
        for cls in classes:
            stack.enter_context(mock.patch.object(cls, "__init__", _recorded(cls.__init__, calls)))  # type: ignore[misc]
        yield calls


def _recorded(construct: Callable[..., None], calls: dict[nn.Module, Call]) -> Callable[..., None]:
    """The constructor, which notes the arguments of the outermost class."""

    def initialize(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        calls.setdefault(self, (args, kwargs))
        construct(self, *args, **kwargs)

    return initialize


@dataclass(frozen=True)
class _Expression:
    """An expression: its opening text, its parts between brackets, its closing text."""

    opening: str
    parts: tuple[_Expression, ...] = ()
    closing: str = ""

    def text(self, indent: int = 0, reserve: int = 0) -> str:
        """On one line where it fits, else one part a line."""
        line = self.line()
        if indent + reserve + len(line) <= WIDTH or not self.parts:
            return line
        deeper = indent + 4
        inner = "".join(f"{' ' * deeper}{part.text(deeper, reserve=1)},\n" for part in self.parts)
        return f"{self.opening}\n{inner}{' ' * indent}{self.closing}"

    def line(self) -> str:
        """On one line."""
        comma = "," if self.opening == "(" and len(self.parts) == 1 else ""
        return f"{self.opening}{', '.join(part.line() for part in self.parts)}{comma}{self.closing}"

    def named(self, name: str) -> _Expression:
        """With a prefix: an argument's name or a dictionary's key."""
        return _Expression(name + self.opening, self.parts, self.closing)


def _module(module: nn.Module, calls: Mapping[nn.Module, Call], name: Namer) -> _Expression:
    """The construction of a module; containers from what they hold now."""
    children = [child for _, child in module.named_children()]
    indices = [str(index) for index in range(len(children))]
    if type(module) in (nn.Sequential, nn.ModuleList) and list(module._modules) == indices:
        call: Call = (tuple(children) if type(module) is nn.Sequential else (children,), {})
    else:
        call = calls[module]
    values = [_expression(value, calls, name) for value in call[0]]
    values += [_expression(value, calls, name).named(f"{key}=") for key, value in call[1].items()]
    return _Expression(f"{_class_name(type(module), name)}(", tuple(values), ")")


def _class_name(cls: type, name: Namer) -> str:
    """`nn.X` for a class that `torch.nn` offers, else the name of a class of ours."""
    return f"nn.{cls.__name__}" if getattr(nn, cls.__name__, None) is cls else name(cls)


def _expression(value: Any, calls: Mapping[nn.Module, Call], name: Namer) -> _Expression:
    """A constructor's argument.

    Raises:
        MeasurementError: it is neither a plain value nor a module.
    """
    if isinstance(value, nn.Module):
        return _module(value, calls, name)
    if isinstance(value, float) and not math.isfinite(value):
        return _Expression(f'float("{value}")')
    if isinstance(value, str):
        return _Expression(_quoted(value))
    if value is None or isinstance(value, bool | int | float | torch.dtype | torch.device):
        return _Expression(repr(value))
    if isinstance(value, tuple | list):
        brackets = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        return _Expression(brackets[0], tuple(_expression(item, calls, name) for item in value), brackets[1])
    if isinstance(value, dict):
        items = (_expression(item, calls, name).named(f"{_quoted(str(key))}: ") for key, item in value.items())
        return _Expression("{", tuple(items), "}")
    if isinstance(value, type) and issubclass(value, nn.Module):
        return _Expression(_class_name(value, name))
    raise MeasurementError("unsupported_operator", f"no source can say the argument {value!r} of a module")


def _quoted(text: str) -> str:
    """A text in double quotes where that needs no escapes."""
    return f'"{text}"' if text.isprintable() and not set(text) & {'"', "\\"} else repr(text)
