"""Every operator against its naive twin, or against what it is written like; and those that others implement too."""

from __future__ import annotations

import pytest

from searchspaces import registry
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Part
from tests.searchspaces.twins import CASES, TWINS, Case, assert_equal_in_value_and_gradient, operators_tests

ROLES = (TokenMixer, ChannelMixer, Gate)
MODULES = operators_tests()
WRITTEN_OUT = {
    "activator": "three pointwise layers, two norms, a product",
    "context_module": "torch's dilated convolutions in a row",
    "effective_squeeze_excitation": "a mean, a layer, a hard sigmoid",
    "efficient_channel_attention": "a mean, torch's convolution over channels, a sigmoid",
    "gated_mlp": "three pointwise layers, a product",
    "identity": "nothing",
    "low_rank": "four pointwise layers; its initial factors are compared with numpy's decomposition",
    "mlp": "two pointwise layers",
    "multispectral": "a sum with a fixed basis, which is compared with scipy's transform, and two layers",
    "none": "nothing",
    "partial_convolution": "torch's convolution of the leading channels",
    "pixel_attention": "a pointwise layer, a sigmoid",
    "polarized": "pointwise layers, two softmax functions, matrix products",
    "series_activation": "two pointwise layers, a sum of shifted activations",
    "spatial_channel_excitation": "a mean, pointwise layers, two sigmoids",
    "squeeze_excitation": "a mean, two layers, a sigmoid",
}
"""Operators without a twin: what their definition consists of, layer by layer as in their source."""


def label(case: Case) -> str:
    return f"{case[0].kind()}-{case[0]}-{case[1]}"


@pytest.mark.parametrize(("part", "shape"), [pytest.param(*case, id=label(case)) for case in CASES])
def test_value_and_gradients_equal_the_naive_twin(part: Part, shape: tuple[int, ...], double: None) -> None:
    twin = TWINS[type(part)]
    module = twin.prepare(part.build(shape))  # type: ignore[attr-defined]
    assert_equal_in_value_and_gradient(module, lambda module, x: twin.compute(part, module, x), shape, twin.tolerance)


def test_operators_without_a_twin_are_their_definition_written_out() -> None:
    every = {registry.resolve(role, kind) for role in ROLES for kind in registry.kinds(role)}
    assert {kind.kind() for kind in every - TWINS.keys()} == WRITTEN_OUT.keys()


def test_at_least_ten_operators_agree_with_an_independent_implementation() -> None:
    """`pytest -m oracle` runs those tests: a library's, or the published formula in numpy or scipy."""
    tests = [test for module in MODULES for test in vars(module).values()]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", []) if mark.name == "oracle"]
    kinds = {kind for mark in marks for kind in mark.args}
    assert kinds <= {kind for role in ROLES for kind in registry.kinds(role)}
    assert len(kinds) >= 10
