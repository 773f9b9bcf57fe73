"""Blocks in words: what a block of a network is called and which of its settings are worth saying."""

from __future__ import annotations

from typing import Any

from searchspaces.blocks._role import Block
from searchspaces.part import Part, Shape
from searchspaces.quantization._role import QuantizationPolicy

STRUCTURE = (
    "patch_embedding",
    "transition",
    "resize",
    "classifier",
    "pooled_classifier",
    "convolution",
    "preprocessing",
    "sum",
    "concatenation",
)
"""Kinds that hold a network together and are drawn without a colour of their own."""
_NEUTRAL: tuple[Any, ...] = (0, 1)
_SHAPES = ("width", "classes", "resolution")
"""Fields that the shape behind the block says already."""
_PAIRS = ("kernel", "window", "dilation")


def operator(block: Block) -> Part:
    """The part that says what a block does: its mixer, or itself."""
    mixer = dict(block.items()).get("mixer")
    return mixer if isinstance(mixer, Part) else block


def details(block: Block) -> list[str]:
    """The settings of a block, in words, without those that are neutral."""
    inner = operator(block)
    parts = [inner] if inner is block else [inner, block]
    found = [setting(part, name, value) for part in parts for name, value in part.items() if name not in _SHAPES]
    return [text for text in found if text]


def setting(part: Part, name: str, value: Any) -> str:
    """One field in words; empty where it changes nothing or is said elsewhere."""
    default = type(part).model_fields[name].default
    if isinstance(value, QuantizationPolicy) or name == "mixer":
        return ""
    if isinstance(value, Part):
        return "" if value == default else " ".join([value.kind().replace("_", " "), *nested(value)])
    if isinstance(value, bool):
        return name.replace("_", " ") if value else ""
    if value == default and (value in _NEUTRAL or isinstance(value, str)):
        return ""
    return _pair(name, value)


def nested(part: Part) -> list[str]:
    """The settings of a part within a block that differ from their defaults."""
    fields = type(part).model_fields
    return [setting(part, name, value) for name, value in part.items() if value != fields[name].default]


def _pair(name: str, value: Any) -> str:
    """`kernel 3`, `kernel 3 × 5`, `4 heads`, `dilations 1, 2, 3`."""
    text = name.replace("_", " ")
    if isinstance(value, tuple | list):
        joint = " × " if name in _PAIRS else ", "
        return f"{text} {joint.join(map(_number, value))}"
    return f"{_number(value)} {text}" if name.endswith("s") else f"{text} {_number(value)}"


def _number(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " × ".join(map(_number, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def arithmetic(block: Block) -> str:
    """`int8`, `int4`, or `w4 a8` where weights and activations differ; empty for floating point."""
    policy = block.quantization
    if not policy.integer and policy.stored_bits == 32:
        return ""
    fields = dict(policy.items())
    weights, activations = fields.get("weight_bits"), fields.get("activation_bits")
    if weights is None or activations is None:
        return policy.kind().rpartition(":")[2].replace("_", " ")
    return f"int{weights}" if weights == activations else f"w{weights} a{activations}"


def shape_text(shape: Shape) -> str:
    """`24 × 8 × 8`: channels and sizes."""
    return " × ".join(map(str, shape))
