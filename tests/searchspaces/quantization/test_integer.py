"""Fake quantization: its grids, its gradient, its ranges, and what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call

from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers.attention import Attention
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.parse import parse
from searchspaces.quantization.integer import FakeQuantizer, Integer

BITS = st.integers(2, 8)
SEEDS = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantizer(weight_bits: int = 8, activation_bits: int = 8, per_channel: bool = True, symmetric: bool = True) -> Any:
    return FakeQuantizer(weight_bits, activation_bits, per_channel, symmetric)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(2), nn.Conv1d(5, 4, 2), nn.Linear(7, 2))


def affine(x: np.ndarray, bits: int) -> np.ndarray:
    """Asymmetric quantization of one tensor to unsigned integers and back, by definition."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / (2**bits - 1)
    zero_point = np.round(-low / scale)
    integers = np.clip(np.round(x / scale) + zero_point, 0, 2**bits - 1)
    return (integers - zero_point) * scale


def symmetric(x: np.ndarray, bits: int) -> np.ndarray:
    """Symmetric quantization of one tensor to signed integers and back, by definition."""
    highest = 2 ** (bits - 1) - 1
    scale = np.abs(x).max() / highest
    return np.clip(np.round(x / scale), -highest, highest) * scale


@given(BITS, SEEDS, st.booleans(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_weights_equal_the_direct_formula(bits: int, seed: int, per_channel: bool, is_symmetric: bool) -> None:
    weight = normal(seed, 3, 4, 3, 3).double()
    found = quantizer(weight_bits=bits, per_channel=per_channel, symmetric=is_symmetric).quantize_weight(weight)
    formula = symmetric if is_symmetric else affine
    groups = list(weight.numpy()) if per_channel else [weight.numpy()]
    expected = np.stack([formula(group, bits) for group in groups]).reshape(weight.shape)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14, atol=0)


@given(BITS, SEEDS, st.floats(-3, 3))
@settings(deadline=None, max_examples=40)
def test_inputs_equal_the_direct_formula(bits: int, seed: int, offset: float) -> None:
    x = normal(seed, 2, 3, 5).double() + offset
    np.testing.assert_allclose(quantizer(activation_bits=bits)(x).numpy(), affine(x.numpy(), bits), rtol=1e-14, atol=0)


@given(BITS, SEEDS, st.floats(-3, 3), st.booleans())
@settings(deadline=None, max_examples=40)
def test_values_lie_on_a_uniform_grid_with_zero(bits: int, seed: int, offset: float, is_symmetric: bool) -> None:
    observer = quantizer(bits, bits, per_channel=False, symmetric=is_symmetric)
    values = normal(seed, 4000).double() + offset
    for quantized in (observer(values), observer.quantize_weight(values)):
        levels = torch.cat([quantized, torch.zeros(1)]).unique()
        step = levels.diff().min()
        assert len(levels) <= 2**bits
        torch.testing.assert_close(levels / step, (levels / step).round(), rtol=1e-9, atol=1e-9)


def test_every_level_of_a_grid_is_used() -> None:
    for bits in range(2, 9):
        ramp, even = torch.linspace(-1, 2, 5000), torch.linspace(-1, 1, 5000)
        assert len(quantizer(activation_bits=bits)(ramp).unique()) == 2**bits
        assert len(quantizer(weight_bits=bits).quantize_weight(even[None]).unique()) == 2**bits - 1
        assert len(quantizer(weight_bits=bits, symmetric=False).quantize_weight(ramp[None]).unique()) == 2**bits


@given(BITS, SEEDS)
@settings(deadline=None, max_examples=30)
def test_an_error_per_channel_is_at_most_half_its_own_step_and_steps_are_never_wider(bits: int, seed: int) -> None:
    weight = normal(seed, 4, 9).double() * torch.tensor([[0.01], [0.3], [1], [7]])
    half_steps = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / 2
    by_channel, by_tensor = (
        (quantizer(weight_bits=bits, per_channel=per_channel).quantize_weight(weight) - weight).abs()
        for per_channel in (True, False)
    )
    assert (by_channel <= half_steps * (1 + 1e-9)).all()
    assert (by_tensor <= half_steps.max() * (1 + 1e-9)).all()
    assert by_channel[0].max() < by_tensor[0].max()


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_more_bits_mean_a_smaller_error(granularity: Any, is_symmetric: bool) -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(16, 3, 6, 4)
    errors = []
    for bits in range(2, 9):
        policy = Integer(weight_bits=bits, activation_bits=bits, granularity=granularity, symmetric=is_symmetric)
        errors.append((policy.prepare(copy.deepcopy(model))(x) - model(x)).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * model(x).square().mean().item()


def test_each_layer_computes_on_quantized_weights_and_inputs() -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(2, 3, 6, 4)
    expected = x
    for layer in model:
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            twin: Any = copy.deepcopy(layer)
            channels = [symmetric(channel, 4) for channel in layer.weight.detach().numpy()]
            twin.weight.data = torch.from_numpy(np.stack(channels)).float()
            expected = twin(torch.from_numpy(affine(expected.detach().numpy(), 6)).float())
        else:
            expected = layer(expected)
    found = Integer(weight_bits=4, activation_bits=6).prepare(model)(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["collapsible_block", "continuous_kernel", "flexible_kernel", "self_moving_points"])
def test_a_generated_kernel_is_rounded_like_that_of_the_inference_form(kind: str) -> None:
    torch.manual_seed(0)
    trained, x = parse(TokenMixer, {"kind": kind}).build((6, 8, 8)), torch.randn(2, 6, 8, 8)
    deployed: Any = copy.deepcopy(trained)
    deployed = deployed.fuse()
    policy = Integer(weight_bits=4, activation_bits=5)
    expected = policy.prepare(deployed).train()(x)
    torch.testing.assert_close(policy.prepare(trained)(x), expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_passes_where_nothing_is_clipped_and_nowhere_else() -> None:
    observer = quantizer(activation_bits=4)
    observer(torch.tensor([-1.0, 2.0]))
    observer.eval()
    x = torch.tensor([-5.0, -1.3, -1.0, -0.33, 0.0, 1.7, 2.0, 2.3, 9.0], requires_grad=True)
    scales = torch.arange(1.0, 10.0)
    (gradient,) = torch.autograd.grad((scales * observer(x)).sum(), x)
    torch.testing.assert_close(gradient, scales * torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 0, 0]))


@given(BITS, SEEDS, st.booleans())
@settings(deadline=None, max_examples=20)
def test_the_gradient_equals_that_of_the_framework_s_operator(bits: int, seed: int, is_symmetric: bool) -> None:
    weight, direction = normal(seed, 3, 7).requires_grad_(), normal(seed + 1, 3, 7)
    largest = weight.detach().abs().amax(1) / (2 ** (bits - 1) - 1)
    highest = 2 ** (bits - 1) - 1
    reference = torch.fake_quantize_per_channel_affine(
        weight, largest, torch.zeros(3, dtype=torch.int32), 0, -highest, highest
    )
    found = quantizer(weight_bits=bits).quantize_weight(weight)
    torch.testing.assert_close(
        torch.autograd.grad(found, weight, direction), torch.autograd.grad(reference, weight, direction)
    )


def test_training_mode_uses_the_batch_and_evaluation_mode_the_mean_over_batches() -> None:
    observer = quantizer()
    batches = [torch.tensor([-1.0, 3.0]), torch.tensor([-2.0, 5.0]), torch.tensor([-6.0, 1.0])]
    for batch in batches:
        np.testing.assert_allclose(observer(batch).numpy(), affine(batch.numpy(), 8), rtol=1e-6)
    assert (observer.low.item(), observer.high.item(), observer.count.item()) == (-3, 3, 3)
    observer.eval()
    wide, step = torch.tensor([-99.0, 0.1, 99.0]), 6 / 255
    expected = np.array([-128, np.round(0.1 / step), 127]) * step
    np.testing.assert_allclose(observer(wide).numpy(), expected, rtol=1e-6)
    assert observer.count.item() == 3
    observer.reset_running_stats()
    observer.train()(batches[1])
    assert (observer.low.item(), observer.high.item(), observer.count.item()) == (-2, 5, 1)


def test_evaluation_without_a_range_is_an_error() -> None:
    model = Integer().prepare(nn.Linear(3, 2)).eval()
    with pytest.raises(RuntimeError, match="run batches in training mode"):
        model(torch.randn(4, 3))


@pytest.mark.parametrize("value", [0.0, 1e-30, -4.0])
def test_constant_inputs_and_weights_stay_finite(value: float) -> None:
    observer = quantizer()
    x = torch.full((3, 4), value, requires_grad=True)
    for quantized in (observer(x), observer.quantize_weight(x)):
        torch.testing.assert_close(quantized, x, rtol=1e-6, atol=1e-9)
        assert torch.autograd.grad(quantized.sum(), x)[0].isfinite().all()


def test_classes_and_parameters_stay_and_statistics_are_added() -> None:
    model = network()
    classes, parameters = [type(layer) for layer in model], dict(model.named_parameters())
    assert Integer().prepare(model) is model
    assert [type(layer) for layer in model] == classes
    found = dict(model.named_parameters())
    assert list(found) == list(parameters)
    assert all(found[name] is parameter for name, parameter in parameters.items())
    added = {f"{layer}.observer.{name}" for layer in (0, 3, 4) for name in ("low", "high", "count")}
    assert set(model.state_dict()) - set(parameters) == added


def test_preparing_again_replaces_the_policy() -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(2, 3, 6, 4)
    once = Integer(weight_bits=3).prepare(copy.deepcopy(model))
    twice = Integer(weight_bits=3).prepare(Integer(weight_bits=8).prepare(model))
    assert torch.equal(once(x), twice(x))


def test_a_deep_copy_computes_with_its_own_parameters_and_ranges() -> None:
    torch.manual_seed(0)
    original, x = Integer().prepare(network()), torch.randn(2, 3, 6, 4)
    duplicate: Any = copy.deepcopy(original)
    before = original(x)
    with torch.no_grad():
        for parameter in duplicate.parameters():
            parameter.zero_()
    assert not duplicate(x).any()
    assert torch.equal(original(x), before)
    duplicate(10 * x)
    original_layer: Any = original[0]
    assert (original_layer.observer.count.item(), duplicate[0].observer.count.item()) == (2, 2)
    assert duplicate[0].observer.high > original_layer.observer.high


@pytest.mark.parametrize("part", [Depthwise(), Attention(heads=2, head_width=3)])
def test_a_skeleton_runs_on_parameters_and_ranges_from_outside(part: Any) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        skeleton = Integer(weight_bits=5).prepare(part.build((4, 5, 3)))
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    assert not any(buffer.is_meta for buffer in skeleton.buffers())
    alone = Integer(weight_bits=5).prepare(part.build((4, 5, 3)))
    tensors = {name: tensor.clone() for name, tensor in alone.state_dict().items()}
    for parameter in tensors.values():
        parameter.requires_grad_(parameter.is_floating_point())
    statistics = {name: tensors[name].detach() for name, _ in alone.named_buffers()}
    x = torch.randn(2, 4, 5, 3)
    assert torch.equal(functional_call(skeleton, {**tensors, **statistics}, (x,)), alone(x))
    for name, buffer in alone.named_buffers():
        assert torch.equal(statistics[name], buffer)
        assert not skeleton.get_buffer(name).any()
    skeleton.eval()
    alone.eval()
    output = functional_call(skeleton, {**tensors, **statistics}, (x,))
    assert torch.equal(output, alone(x))
    output.square().sum().backward()
    alone(x).square().sum().backward()
    for name, parameter in alone.named_parameters():
        assert torch.equal(tensors[name].grad, parameter.grad), name


def test_the_exported_program_computes_the_same() -> None:
    torch.manual_seed(0)
    model, x = Integer().prepare(network()), torch.randn(2, 3, 6, 4)
    model(x)
    exported = torch.export.export(model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_gradients_per_sample_equal_gradients_of_samples() -> None:
    torch.manual_seed(0)
    model, x = Integer(weight_bits=4).prepare(nn.Linear(5, 2)), torch.randn(3, 5)
    model(x)
    model.eval()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, values, (sample,)).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for index, sample in enumerate(x):
        alone = torch.autograd.grad(loss(dict(model.named_parameters()), sample), list(model.parameters()))
        for name, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(together[name][index], gradient)


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_bits": 1},
        {"weight_bits": 9},
        {"activation_bits": 1},
        {"activation_bits": 16},
        {"weight_bits": 8.0},
        {"granularity": "group"},
        {"symmetric": 1},
    ],
)
def test_values_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Integer(**fields)


def test_the_description_reads_back() -> None:
    policy = Integer(weight_bits=4, granularity="tensor", symmetric=False)
    data = policy.describe()
    assert data.pop("kind") == "integer"
    assert Integer(**data) == policy
    assert hash(Integer(**data)) == hash(policy)
    assert policy.integer
