"""Part: the frozen description of one thing that a user can name in YAML."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

Shape = tuple[int, ...]
"""The shape of one sample, without the batch axis: (c, h, w) or (c, t)."""


class Part(BaseModel):
    """A frozen description: its fields are what YAML can say, its methods take runtime objects.

    Equality, hash and JSON come from the fields. Any field may hold a `Choice` while a search space is open.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def kind(cls) -> str:
        """The name of this part in YAML: its file's name, or `module:Class` outside its role's folder."""
        module = cls.__module__
        folder, _, name = module.rpartition(".")
        roles = {base.__module__.rpartition(".")[0] for base in cls.__mro__ if base.__module__.endswith("._role")}
        return name if folder in roles else f"{module}:{cls.__qualname__}"

    @classmethod
    def opened(cls, **values: Any) -> Self:
        """A part whose fields may hold open choices; nothing is validated."""
        part: Self = cls.model_construct(**values)  # type: ignore[assignment]
        return part

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def items(self) -> list[tuple[str, Any]]:
        """Field names and values, in the order of declaration."""
        return [(name, getattr(self, name)) for name in type(self).model_fields]

    def describe(self) -> dict[str, Any]:
        """This part as plain JSON data that `parse` reads back to an equal part."""
        return {"kind": self.kind(), **{name: describe(value) for name, value in self.items()}}


def describe(value: Any) -> Any:
    """Plain JSON data of a part, a sequence of parts or a plain value."""
    if isinstance(value, Part):
        return value.describe()
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    return value
