"""Weights of trained transformers, read by the names that the common libraries give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.architecture import Architecture, Placement
from searchspaces.blocks.attention_layer import AttentionLayer
from searchspaces.blocks.feed_forward_layer import FeedForwardLayer
from searchspaces.blocks.token_classifier import TokenClassifier
from searchspaces.blocks.token_embedding import TokenEmbedding
from searchspaces.pretrained_layouts import LAYOUTS, Layout
from searchspaces.skeleton import skeleton

Weights = nn.Module | Mapping[str, Tensor] | Path
"""A trained module, its state dict, or a safetensors file of one."""


class PretrainedError(ValueError):
    """Weights that cannot be read, or that do not fit the space's largest network."""


def translated(
    weights: Weights, architecture: Architecture, names: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """The state dict of `architecture.build()` with which it computes what the trained network computes.

    Args:
        weights: of one of the layouts, under any prefix; or a state dict of the architecture itself.
        architecture: a transformer.
        names: beginnings of names in the weights, and what stands for them in a layout.

    Raises:
        PretrainedError: a parameter is missing, has another shape, or has no place in the architecture.
    """
    tensors = renamed(read(weights), names or {})
    blocks = list(enumerate(architecture.blocks()))
    shapes = {f"{i}.{name}": role.shape for i, p in blocks for name, role in skeleton(p.part, p.shape).roles.items()}
    if not shapes.keys() <= tensors.keys():
        source = _Source.of(tensors)
        tensors = {f"{i}.{name}": tensor for i, p in blocks for name, tensor in _translate(source, p).items()}
        source.finish()
    return {name: _fitted(tensors[name], shape, name, architecture) for name, shape in shapes.items()}


def described(weights: Weights, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The trained network as a description of a `transformer`, in which choices can then be left open.

    What the weights do not tell is not described, and has to be added where it is not the default: the heads, of which
    `block.heads` times `block.head_width` are the width, the activation, and the normalizations' epsilon.

    Raises:
        PretrainedError: the weights are of no known layout.
    """
    source = _Source.of(renamed(read(weights), names or {}))
    layout, shapes = source.layout, {name: tensor.shape for name, tensor in source.tensors.items()}
    depth = 0
    while f"{layout.expand.format(depth)}weight" in shapes:
        depth += 1
    found = {"kind": "transformer", "width": shapes[f"{layout.norm}weight"][0], "depth": depth}
    kernel = shapes.get(f"{layout.projection}weight", ())
    patch = {"patch": kernel[2]} if len(kernel) == 4 else {}
    block = {"hidden": shapes[f"{layout.expand.format(0)}weight"][0]}
    return {**found, **patch, "class_token": layout.class_token in shapes, "block": block}


def read(weights: Weights) -> dict[str, Tensor]:
    """The tensors by name.

    Raises:
        PretrainedError: the file cannot be read.
    """
    if isinstance(weights, nn.Module):
        return dict(weights.state_dict())
    if not isinstance(weights, Path):
        return dict(weights)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(weights)
    except (SafetensorError, OSError) as error:
        raise PretrainedError(f"{weights}: cannot be read as safetensors ({error})") from error


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors with other beginnings of their names; the longest that fits is replaced."""

    def other(name: str) -> str:
        begun = max((start for start in names if name.startswith(start)), key=len, default=None)
        return name if begun is None else names[begun] + name.removeprefix(begun)

    return {other(name): tensor for name, tensor in tensors.items()}


@dataclass
class _Source:
    """Tensors of a known layout, and which of them have been used."""

    tensors: dict[str, Tensor]
    layout: Layout
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> _Source:
        """The tensors without the prefix under which they are kept.

        Raises:
            PretrainedError: they are of no known layout.
        """
        for layout in LAYOUTS.values():
            mark = f"{layout.attention_norm.format(0)}weight"
            for name in tensors:
                if name == mark or name.endswith(f".{mark}"):
                    prefix = name.removesuffix(mark)
                    return cls({key.removeprefix(prefix): tensor for key, tensor in tensors.items()}, layout)
        raise PretrainedError(
            f"these weights are of no known layout ({', '.join(LAYOUTS)}): {', '.join(sorted(tensors)[:4])} ..."
        )

    def one(self, name: str) -> Tensor:
        """A tensor by its full name.

        Raises:
            PretrainedError: there is none.
        """
        if name not in self.tensors:
            raise PretrainedError(f"the weights lack {name}")
        self.used.add(name)
        return self.tensors[name]

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias; a bias that is not there is zero."""
        weight = self.one(f"{name}weight")
        bias = self.one(f"{name}bias") if f"{name}bias" in self.tensors else weight.new_zeros(len(weight))
        return weight, bias

    def finish(self) -> None:
        """Checks that all tensors have been used.

        Raises:
            PretrainedError: one has not, so that the network computes something else.
        """
        left = sorted(self.tensors.keys() - self.used)
        if left:
            raise PretrainedError(
                f"a transformer of the space has no place for {', '.join(left[:4])}: deeper or other?"
            )


def _translate(source: _Source, placement: Placement) -> dict[str, Tensor]:
    """The tensors of one block by the names in its module."""
    translate = _TRANSLATORS.get(type(placement.part))
    if translate is None:
        raise PretrainedError(f"{placement.path}: a {placement.part.kind()} takes no weights of another network")
    return translate(source, placement)


def _embedding(source: _Source, placement: Placement) -> dict[str, Tensor]:
    """Projection, positions on their grid, and the class token with its position."""
    part, layout = placement.part, source.layout
    assert isinstance(part, TokenEmbedding)
    tokens = part.output_shape(placement.shape)[1]
    projection = _pair("projection", source.layer(layout.projection))
    positions = source.one(layout.positions).reshape(-1, len(projection["projection.weight"]))
    found = {**projection, "positions.table": positions[-(tokens - part.class_token) :].T}
    if part.class_token:
        first = source.one(layout.class_token).reshape(-1)
        found["first"] = first + positions[0] if len(positions) == tokens else first
    return found


def _attention(source: _Source, placement: Placement) -> dict[str, Tensor]:
    """Query, key and value apart; without the keys' bias, which changes nothing."""
    layout, number = source.layout, placement.path.split(".")[1]
    weights, biases = zip(*(source.layer(name.format(number)) for name in layout.attention), strict=True)
    (query, key, value), (query_bias, _, value_bias) = torch.cat(weights).chunk(3), torch.cat(biases).chunk(3)
    weight, bias = source.layer(layout.output.format(number))
    found = {"query.weight": query, "query.bias": query_bias, "key.weight": key}
    found |= {"value.weight": value, "value.bias": value_bias, "output.weight": weight, "output.bias": bias}
    norm = _pair("norm", source.layer(layout.attention_norm.format(number)))
    return {**norm, **{f"mixer.{name}": tensor for name, tensor in found.items()}}


def _perceptron(source: _Source, placement: Placement) -> dict[str, Tensor]:
    """The two linear maps and the normalization before them."""
    layout, number = source.layout, placement.path.split(".")[1]
    pairs = {"norm": layout.perceptron_norm, "mixer.expand": layout.expand, "mixer.project": layout.project}
    return {k: v for ours, name in pairs.items() for k, v in _pair(ours, source.layer(name.format(number))).items()}


def _head(source: _Source, placement: Placement) -> dict[str, Tensor]:
    """Normalization and linear map."""
    norm, linear = source.layer(source.layout.norm), source.layer(source.layout.linear)
    return {**_pair("norm", norm), **_pair("linear", linear)}


def _pair(name: str, tensors: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.weight": tensors[0], f"{name}.bias": tensors[1]}


_TRANSLATORS: dict[type, Callable[[_Source, Placement], dict[str, Tensor]]] = {
    TokenEmbedding: _embedding,
    AttentionLayer: _attention,
    FeedForwardLayer: _perceptron,
    TokenClassifier: _head,
}


def _fitted(tensor: Tensor, shape: tuple[int, ...], name: str, architecture: Architecture) -> Tensor:
    """A tensor in the shape of our parameter: matrices and 1x1 convolutions, flat and gridded positions are the same.

    Raises:
        PretrainedError: it has another number of elements, or another first axis.
    """
    if tensor.numel() != torch.Size(shape).numel() or tensor.shape[0] != shape[0]:
        block = architecture.blocks()[int(name.partition(".")[0])].part
        raise PretrainedError(
            f"{name} of the space's largest network is {list(shape)}, in the weights {list(tensor.shape)}; "
            f"make the largest {block.kind()} that of the weights"
        )
    return tensor.reshape(shape)
