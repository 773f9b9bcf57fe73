"""Reading descriptions without the heavy libraries that their modules run on.

An operator's description and its `nn.Module` live in one file, so that listing, checking and schema commands would pay
more than a second to import torch. In `descriptions_only`, torch and its like are stand-ins: classes can derive from
them and be decorated by them, nothing can be computed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HEAVY = (
    "torch",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "openvino",
    "nncf",
    "executorch",
    "sklearn",
    "scipy",
    "matplotlib",
    "plotly",
    "PIL",
    "ray",
)


class _StandIn(type):
    """A class whose every attribute is such a class again."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(name, (), {})

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """A decorator returns what it decorates, a constructor or function nothing of use."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]
        return _StandIn(cls.__name__, (), {})

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls


class _StandInModule(ModuleType):
    """A module in which every name can be imported."""

    __path__: MutableSequence[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(name, (), {})


class _Finder(MetaPathFinder, Loader):
    """Finds stand-ins for the heavy libraries before the real ones are found."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in HEAVY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandInModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return None


@contextmanager
def descriptions_only() -> Iterator[None]:
    """Imports in this context are good for descriptions only; they are forgotten at its end.

    Where torch is loaded already there is nothing to save, and nothing happens.
    """
    if "torch" in sys.modules:
        yield
        return
    before, finder = set(sys.modules), _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        ours = ("searchspaces", "hardware", "predictors", "nas", *HEAVY)
        for name in [name for name in sys.modules if name not in before and name.partition(".")[0] in ours]:
            del sys.modules[name]
