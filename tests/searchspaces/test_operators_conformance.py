"""Laws that every token mixer, channel mixer and gate must hold; the parts are found by their files."""

from __future__ import annotations

import json
import random
import typing
from collections.abc import Iterator
from typing import Any

import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from searchspaces import registry
from searchspaces.blocks._role import Block
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.cost import module_cost
from searchspaces.gates._role import Gate
from searchspaces.mixers._role import TokenMixer
from searchspaces.networks._role import Network
from searchspaces.parse import parse
from searchspaces.part import Part, Shape, describe
from searchspaces.skeleton import parameters_on_meta

Operator = TokenMixer | ChannelMixer | Gate
CLASSES = [registry.resolve(role, kind) for role in (TokenMixer, ChannelMixer, Gate) for kind in registry.kinds(role)]
VALUES = (
    True,
    False,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    0.5,
    1.5,
    2.5,
    (1, 3),
    (3, 1),
    (2, 1),
    (3, 5),
    (1, 2, 3),
    ((1, 2), 3),
    (0.5,),
    (0.3, 0.9),
)
SHAPES = {1: [(5, 7), (1, 3), (8, 4)], 2: [(5, 7, 9), (1, 3, 2), (24, 8, 8), (2, 1, 1)]}


def accepted(part_class: type[Part], field: str) -> list[Any]:
    """The values that the field takes, of a few that fields like to take."""
    values = []
    for value in (*VALUES, *typing.get_args(part_class.model_fields[field].annotation)):
        try:
            part_class(**{field: value})
        except ValidationError:
            continue
        values.append(value)
    return values


def variants() -> Iterator[Operator]:
    """Every part with its defaults and with three random descriptions."""
    rng = random.Random(0)
    for part_class in CLASSES:
        fields = {field: accepted(part_class, field) for field in part_class.model_fields}
        drawn = [part_class(**{field: rng.choice(values) for field, values in fields.items()}) for _ in range(3)]
        yield from dict.fromkeys([part_class(), *drawn])


def label(value: Any) -> str:
    return json.dumps(value.describe()) if isinstance(value, Part) else str(value)


def with_defaults(role: type[Part]) -> list[type[Part]]:
    """The parts of a role that can be described without saying anything."""
    found = [registry.resolve(role, kind) for kind in registry.kinds(role)]
    return [part for part in found if not any(field.is_required() for field in part.model_fields.values())]


DESCRIBED = [*CLASSES, *with_defaults(Block), *with_defaults(Network)]
PARTS = list(variants())
CASES = [(part, shape) for part in PARTS for rank in part.spatial_ranks for shape in SHAPES[rank]]


@pytest.mark.parametrize("part_class", DESCRIBED, ids=lambda part_class: part_class.kind())
def test_every_value_that_a_field_takes_is_read_from_plain_data(part_class: type[Part]) -> None:
    for field in part_class.model_fields:
        for value in accepted(part_class, field):
            part = part_class(**{field: value})
            if isinstance(value, bool) and getattr(part, field) is not value:
                continue  # Python takes it for a number; descriptions do not
            plain = json.loads(json.dumps({"kind": part.kind(), field: describe(value)}))
            assert parse(part_class, plain) == part
            assert parse(part_class, json.loads(json.dumps(part.describe()))) == part


def test_each_field_has_at_least_two_values_to_try() -> None:
    for part_class in CLASSES:
        for field in part_class.model_fields:
            assert len(accepted(part_class, field)) >= 2, f"{part_class.__name__}.{field}: add values to VALUES"


@pytest.mark.parametrize(("part", "shape"), CASES, ids=label)
def test_shape_is_kept_and_gradients_are_finite(part: Operator, shape: Shape, double: None) -> None:
    module, x = part.build(shape), torch.randn(3, *shape, requires_grad=True)
    y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    y.square().sum().backward()
    for name, tensor in [("input", x), *module.named_parameters()]:
        assert tensor.grad is not None, f"{name} has no part in the output"
        assert tensor.grad.isfinite().all(), name


@pytest.mark.parametrize(("part", "shape"), CASES, ids=label)
def test_samples_of_a_batch_do_not_meet(part: Operator, shape: Shape, double: None) -> None:
    module, x = part.build(shape).eval(), torch.randn(3, *shape)
    alone = torch.cat([module(sample[None]) for sample in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-12, atol=1e-12)


def cut(owner: nn.Module, name: str, shared: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A smaller module's share of a parameter: leading along the first two axes, the centre along kernel axes."""
    if hasattr(type(owner), "take"):
        return type(owner).take(name, shared, shape)
    for axis, size in enumerate(shape):
        shared = shared.narrow(axis, 0 if axis < 2 else (shared.shape[axis] - size) // 2, size)
    return shared


def share(wide: nn.Module, narrow: nn.Module, path: str) -> Tensor:
    """The slice of a wide module's parameter that the narrow one runs on."""
    owner, _, name = path.rpartition(".")
    return cut(narrow.get_submodule(owner), name, wide.get_parameter(path), narrow.get_parameter(path).shape)


NARROW = [
    (part, narrow)
    for part in PARTS
    for rank in part.spatial_ranks
    for narrow in ([(3, 4, 3), (1, 5, 6), (6, 1, 5)] if rank == 2 else [(3, 5)])
]


@pytest.mark.parametrize(("part", "shape"), NARROW, ids=label)
def test_a_narrow_module_runs_on_slices_of_a_wide_one(part: Operator, shape: Shape, double: None) -> None:
    wide, narrow = part.build((7, 6, 8)[: len(shape)]), part.build(shape)
    slices = {path: share(wide, narrow, path) for path, _ in narrow.named_parameters()}
    x = torch.randn(2, *shape)
    output = functional_call(narrow, slices, (x,))
    if slices:
        output.square().sum().backward()
    narrow.load_state_dict({**narrow.state_dict(), **{path: tensor.detach() for path, tensor in slices.items()}})
    torch.testing.assert_close(output, narrow(x), rtol=1e-12, atol=1e-12)
    for path, tensor in wide.named_parameters():
        if path not in slices:
            assert tensor.grad is None, f"{path} is not the narrow module's"
            continue
        assert tensor.grad is not None
        (inside,) = torch.autograd.grad(share(wide, narrow, path).sum(), tensor)
        assert not tensor.grad[inside == 0].any(), f"{path} has gradients outside of its slice"


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_a_description_reads_back_to_an_equal_part(part: Operator) -> None:
    data = json.loads(json.dumps(part.describe()))
    found = registry.resolve(role_of(part), data.pop("kind"))
    assert found(**data) == part
    assert hash(found(**data)) == hash(part)


def role_of(part: Operator) -> type[Part]:
    return next(role for role in typing.get_args(Operator) if isinstance(part, role))


@pytest.mark.parametrize("part_class", CLASSES, ids=lambda part_class: part_class.kind())
def test_parts_are_frozen_and_refuse_unknown_fields(part_class: type[Part]) -> None:
    with pytest.raises(ValidationError, match="extra"):
        part_class(no_such_field=1)
    for field in part_class.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part_class(), field, getattr(part_class(), field))


def example(part: Operator) -> Shape:
    """A shape that the part takes."""
    return (5, 7, 9)[: 1 + max(part.spatial_ranks)]


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_parameters_and_normalization_statistics_alone_fill_a_state(part: Operator) -> None:
    module = part.build(example(part))
    norms = [(path, norm) for path, norm in module.named_modules() if isinstance(norm, _BatchNorm)]
    statistics = {f"{path}.{name}" for path, norm in norms for name, _ in norm.named_buffers()}
    assert set(module.state_dict()) == {name for name, _ in module.named_parameters()} | statistics


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_it_is_built_without_storage_and_counted_without_computing(part: Operator) -> None:
    with parameters_on_meta():
        module = part.build(example(part))
    assert all(parameter.is_meta for parameter in module.parameters())
    assert not any(buffer.is_meta for buffer in module.buffers())
    with torch.device("meta"):
        cost = module_cost(part.build(example(part)), example(part))
    assert cost.parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_the_exported_program_computes_the_same(part: Operator) -> None:
    module, x = part.build(example(part)).eval(), torch.randn(2, *example(part))
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x), rtol=1e-6, atol=1e-6)


CAUSAL = [part_class(causal=True) for part_class in CLASSES if "causal" in part_class.model_fields]
"""Mixers of sequences that can be kept from seeing what comes later."""


@pytest.mark.parametrize("part", CAUSAL, ids=label)
def test_a_causal_output_sees_its_own_position_and_no_later_one(part: Operator, double: None) -> None:
    shape = (3, 41)
    module, x = part.build(shape), torch.randn(2, *shape, requires_grad=True)
    for position in (0, 17, 40):
        (gradient,) = torch.autograd.grad(module(x)[:, :, position].square().sum(), x)
        seen = gradient.abs().amax((0, 1))
        assert seen[position] > 0 and (seen[position + 1 :] < 1e-14).all()


SEQUENCES = [part_class() for part_class in CLASSES if 2 not in part_class.spatial_ranks]
"""Images go the whole way of export in tests/nas/export/test_operators.py."""


@pytest.mark.slow
@pytest.mark.parametrize("part", [*SEQUENCES, *CAUSAL], ids=label)
def test_onnxruntime_computes_the_same(part: Operator, shared_registry: None) -> None:
    shape = (5, 37)
    module, x = part.build(shape).eval(), torch.randn(2, *shape)
    program = torch.onnx.export(module, (x,), dynamo=True, external_data=False, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (output,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), module(x), rtol=1e-5, atol=1e-5)
