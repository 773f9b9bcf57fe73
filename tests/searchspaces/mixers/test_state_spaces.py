"""Selective state spaces against their recurrences, step by step."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.channel_mixers.selective_channel_mixer import SelectiveChannelMixer
from searchspaces.mixers._causal import CausalConv1d
from searchspaces.mixers._recurrence import linear_recurrence
from searchspaces.mixers._selective import SelectiveStateSpace
from searchspaces.mixers.local_attention_mamba import LocalAttentionMamba
from searchspaces.mixers.mamba_mixer import MambaMixer
from searchspaces.mixers.selective_scan import SelectiveScan
from searchspaces.mixers.window_attention import WindowAttention
from searchspaces.quantization.integer import Integer
from tests.searchspaces.mixers.test_naive_twins import window_attention
from tests.searchspaces.twins import label, twin_of


def steps(module: Any, x: Tensor) -> Tensor:
    """S6 by its definition: one position, one state after the other."""
    outputs, states = [], torch.zeros(len(x), x.shape[2], module.log_rate.shape[1])
    for t in range(x.shape[1]):
        token = x[:, t]
        step = torch.log(1 + module.step(module.step_factor(token)).exp())
        columns = []
        for s in range(states.shape[2]):
            rate = -module.log_rate[:, s].exp()
            held = (torch.exp(step * rate) - 1) / rate * module.write(token)[:, s, None] * token
            columns.append(torch.exp(step * rate) * states[:, :, s] + held)
        states = torch.stack(columns, 2)
        terms = [states[:, :, s] * module.read(token)[:, s, None] for s in range(states.shape[2])]
        outputs.append(torch.stack(terms).sum(0) + module.skip * token)
    return torch.stack(outputs, 1)


def orders(size: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """The positions in the order of each direction."""
    rows = list(itertools.product(*map(range, size)))
    columns = [place[::-1] for place in itertools.product(*map(range, size[::-1]))]
    return [rows, rows[::-1], columns, columns[::-1]]


def scans(module: Any, x: Tensor) -> Tensor:
    """The sum over directions, gathered and put back position by position."""
    total = torch.zeros_like(x)
    for direction, order in zip(module.directions, orders(tuple(x.shape[2:])), strict=False):
        mixed = steps(direction, torch.stack([x[(..., *place)] for place in order], 1))
        placed = {place: mixed[:, t] for t, place in enumerate(order)}
        flat = [placed[place] for place in itertools.product(*map(range, x.shape[2:]))]
        total = total + torch.stack(flat, 2).reshape(x.shape)
    return total


@twin_of(
    (SelectiveScan(state=3), (3, 7)),
    (SelectiveScan(state=2, kernel=5), (2, 2)),
    (SelectiveScan(state=2, directions=2), (3, 6)),
    (SelectiveScan(state=2), (3, 3, 2)),
    (SelectiveScan(state=2, expand=1.0, directions=4), (3, 2, 5)),
)
def gated_scan(part: Any, module: Any, x: Tensor) -> Tensor:
    def over_channels(layer: nn.Module, features: Tensor) -> Tensor:
        return layer(features.movedim(1, -1)).movedim(-1, 1)

    value = over_channels(module.value, x)
    if isinstance(module.convolution, CausalConv1d):
        kernel = module.convolution.weight
        taps = [F.pad(value, (k, 0))[..., : x.shape[2]] * kernel[:, :, -1 - k] for k in range(kernel.shape[2])]
        value = torch.stack(taps).sum(0) + module.convolution.bias[:, None]
    else:
        value = module.convolution(value)
    gate = over_channels(module.gate, x)
    return over_channels(module.output, scans(module.scans, value * value.sigmoid()) * gate * gate.sigmoid())


@twin_of(
    (MambaMixer(state=2), (3, 3, 2)),
    (MambaMixer(state=2, expand=1.5, directions=2), (3, 5)),
    (MambaMixer(state=2, directions=1), (3, 7)),
)
def token_mixer(part: Any, module: Any, x: Tensor) -> Tensor:
    tokens, value = x.movedim(1, -1), module.convolution(module.value(x.movedim(1, -1)).movedim(-1, 1))
    hidden = module.gate_expand(tokens)
    gate = module.gate(hidden * hidden.sigmoid())
    return module.output(scans(module.scans, value * value.sigmoid()).movedim(1, -1) * gate).movedim(-1, 1)


@twin_of(
    (SelectiveChannelMixer(state=2), (5, 2, 3)),
)
def channel_mixer(part: Any, module: Any, x: Tensor) -> Tensor:
    mixed = module.convolution(module.value(x).flatten(2).transpose(1, 2))
    there, back = module.scans.directions
    channels = (mixed * mixed.sigmoid()).transpose(1, 2)
    both = (steps(there, channels) + steps(back, channels.flip(1)).flip(1)).reshape(x.shape)
    gate = module.gate(x)
    return module.output(both * gate * gate.sigmoid())


@twin_of(
    (LocalAttentionMamba(window=2, state=2, heads=2, head_width=2), (3, 3, 2)),
    (LocalAttentionMamba(arrangement="parallel", window=(3, 2), state=2, heads=1, head_width=3), (2, 2, 4)),
)
def lamamba(part: LocalAttentionMamba, module: Any, x: Tensor) -> Tensor:
    """The twins of both halves."""
    whole, attention = (
        gated_scan(part, module.whole, x),
        WindowAttention(**{name: getattr(part, name) for name in ("heads", "head_width", "window")}),
    )
    local = x if part.arrangement == "parallel" else module.norm((x + whole).movedim(1, 3)).movedim(3, 1)
    return whole + window_attention(attention, module.local, local)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 13])
def test_the_scan_equals_a_loop(length: int) -> None:
    decay = torch.randn(2, length, 3, requires_grad=True)
    update = torch.randn(2, length, 3, requires_grad=True)
    state, states = torch.zeros(2, 3), []
    for t in range(length):
        state = decay[:, t] * state + update[:, t]
        states.append(state)
    value, expected = linear_recurrence(decay, update), torch.stack(states, 1)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(value)
    for leaf in (decay, update):
        found, wanted = (
            torch.autograd.grad(y, leaf, direction, retain_graph=True, allow_unused=True)[0] for y in (value, expected)
        )
        torch.testing.assert_close(torch.zeros_like(leaf) if found is None else found, wanted, rtol=1e-12, atol=1e-12)


def test_the_scan_forgets_where_decays_underflow() -> None:
    decay = torch.full((1, 64, 1), 1e-30, dtype=torch.float32)
    states = linear_recurrence(decay, torch.ones(1, 64, 1, dtype=torch.float32))
    torch.testing.assert_close(states, torch.ones_like(states), rtol=0, atol=0)


@pytest.mark.oracle("selective_scan")
def test_constant_coefficients_give_scipy_s_discrete_system() -> None:
    """A step, B and C that do not depend on the input make a linear system: held, then simulated, by scipy."""
    module, t = SelectiveStateSpace(1, 3, 1), 9
    with torch.no_grad():
        module.step.weight.zero_()
        module.skip.zero_()
    read, write = torch.randn(3), torch.randn(3)
    for layer, row in ((module.read, read), (module.write, write)):
        vars(layer)["forward"] = lambda x, row=row: row.expand(*x.shape[:2], 3)
    step, rates = F.softplus(module.step.bias).item(), -module.log_rate.exp()[0].detach().numpy()
    continuous = (np.diag(rates), write.numpy()[:, None], read.numpy()[None], np.zeros((1, 1)))
    a, b, c, _, _ = scipy.signal.cont2discrete(continuous, step, method="zoh")
    x, state, expected = torch.randn(1, t, 1), np.zeros((3, 1)), []
    for number in x[0, :, 0].numpy():
        state = a @ state + b * number
        expected.append((c @ state).item())
    torch.testing.assert_close(module(x)[0, :, 0].detach(), torch.tensor(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("part", [SelectiveScan(state=2, kernel=5), MambaMixer(state=2, directions=1)], ids=label)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_one_direction_along_a_sequence_sees_no_later_position(position: int, part: Any) -> None:
    module, x = part.build((3, 7)), torch.randn(1, 3, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[:, :, position].sum(), x)
    assert gradient[:, :, : position + 1].abs().min() > 0
    assert not gradient[:, :, position + 1 :].any()


def test_two_directions_see_everything() -> None:
    module, x = SelectiveScan(state=2, directions=2).build((3, 7)), torch.randn(1, 3, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[:, :, 3].sum(), x)
    assert gradient.abs().min() > 0


def test_a_short_causal_kernel_is_the_latest_taps_of_a_long_one() -> None:
    wide, narrow = CausalConv1d(3, 5), CausalConv1d(2, 3)
    narrow.weight.data = CausalConv1d.take("weight", wide.weight.data, tuple(narrow.weight.shape))
    narrow.bias.data = CausalConv1d.take("bias", wide.bias.data, (2,))
    wide.weight.data[:, :, :2] = 0
    x = torch.randn(1, 3, 8)
    torch.testing.assert_close(narrow(x[:, :2]), wide(x)[:, :2], rtol=1e-12, atol=1e-12)


def test_fake_quantization_keeps_a_causal_convolution_causal() -> None:
    layer, x = Integer().prepare(nn.Sequential(CausalConv1d(2, 3))), torch.rand(1, 2, 8)
    later = x.clone()
    later[:, :, 5:] = x[:, :, 5:].flip(2)
    assert layer(x).shape == x.shape
    torch.testing.assert_close(layer(x)[:, :, :5], layer(later)[:, :, :5], rtol=0, atol=0)


def test_fewer_states_and_directions_are_the_leading_ones() -> None:
    part = SelectiveScan(state=3, directions=4)
    wide, narrow = part.build((3, 4, 5)), SelectiveScan(state=2, directions=2).build((3, 4, 5))
    state = {name: wide.get_parameter(name).detach() for name, _ in narrow.named_parameters()}
    for name, parameter in narrow.named_parameters():
        parameter.data = state[name][tuple(slice(size) for size in parameter.shape)]
    for index in (0, 1):
        wide.get_parameter(f"scans.directions.{index}.read.weight").data[2:] = 0
    for index in (2, 3):
        wide.get_parameter(f"scans.directions.{index}.read.weight").data.zero_()
        wide.get_parameter(f"scans.directions.{index}.skip").data.zero_()
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(narrow(x), wide(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("arrangement", ["sequential", "parallel"])
def test_lamamba_is_its_two_halves(arrangement: Any) -> None:
    module: Any = LocalAttentionMamba(arrangement=arrangement, window=2, state=2).build((5, 4, 3))
    x = torch.randn(2, 5, 4, 3)
    whole = module.whole(x)
    features = x + whole
    mean, variance = features.mean(1, keepdim=True), features.var(1, keepdim=True, correction=0)
    normed = (features - mean) / (variance + 1e-5).sqrt()
    expected = whole + module.local(normed if arrangement == "sequential" else x)
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-12)
