"""LitePose against its equations, with features kept in a list; and what its fields do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.export.python_source import source
from nas.export.safetensors import Safetensors
from searchspaces.architecture import Architecture
from searchspaces.blocks.inverted_bottleneck import InvertedBottleneck
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import SearchSpace
from tests.nas.export.networks import deployable
from tests.searchspaces.spaces import choice, space

EXAMPLE = Path(__file__).parent / "examples" / "litepose.yaml"
STEM = {"kind": "convolution", "width": 5, "stride": 2, "activation": "relu6"}


def description(head: str, deconvolutions: list[Any]) -> dict[str, Any]:
    """Four stages of one block, as published with the strides 2, 2, 2, 1."""
    block = {"kernel": 7, "expansion": 2.0}
    stages = [
        {"depth": 1, "width": width, "stride": stride, "block": block}
        for width, stride in ((3, 2), (4, 2), (5, 2), (6, 1))
    ]
    return {
        "kind": "litepose", "stem": STEM, "width": 2, "stages": stages, "deconvolutions": deconvolutions, "head": head
    }  # fmt: skip


def decided(head: str, deconvolutions: list[Any], outputs: int = 3) -> Architecture:
    found = space(description(head, deconvolutions), Signature((3, 32, 64), outputs))
    return found.decode(np.zeros(0, dtype=np.int64))


def published(architecture: Architecture, network: Any, x: Tensor, deconvolutions: int, head: str) -> Tensor:
    """The paper's order: all features first, then up again, reading them from the last to the first."""
    parts = [(place.part.kind(), module) for place, module in zip(architecture.blocks(), network, strict=True)]

    def of(kind: str) -> list[Any]:
        return [module for name, module in parts if name == kind]

    reduction, *stages = of("inverted_bottleneck")
    features = [reduction(of("convolution")[0](x))]
    for stage in stages:
        features.append(stage(features[-1]))
    raw, refined = of("deconvolution")[:deconvolutions][::-1], of("deconvolution")[deconvolutions:]
    u = features[-1]
    for i in range(deconvolutions):
        norm = of("normalized_activation")[i][0]
        total = F.conv_transpose2d(u, refined[i].weight, stride=2, padding=1)
        total = total + F.conv_transpose2d(features[-2 - i], raw[i].weight, stride=2, padding=1)
        u = F.relu(F.batch_norm(total, norm.running_mean, norm.running_var, norm.weight, norm.bias))
    if head == "classifier":
        return of("classifier")[0](u)
    final_raw, final_refined = of("heatmaps")
    return final_refined(u) + final_raw(features[-2 - deconvolutions])


@pytest.mark.parametrize("head", ["classifier", "heatmaps"])
@pytest.mark.parametrize("deconvolutions", [[], [4], [4, 3], [4, 3, 2]], ids=len)
def test_the_network_computes_its_equations(head: str, deconvolutions: list[int]) -> None:
    torch.manual_seed(0)
    architecture, x = decided(head, deconvolutions), torch.randn(2, 3, 32, 64, dtype=torch.float64)
    network = architecture.build().double()
    network(torch.randn(4, 3, 32, 64, dtype=torch.float64))
    network.eval()
    expected = published(architecture, network, x, len(deconvolutions), head)
    torch.testing.assert_close(network(x), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("deconvolutions", "part"), [(2, 4), (3, 2)])
def test_heat_maps_have_the_published_resolutions(deconvolutions: int, part: int) -> None:
    last = decided("heatmaps", [4, 3, 2][:deconvolutions], 17).blocks()[-1]
    assert last.part.output_shape(last.shape) == (17, 32 // part, 64 // part)


def test_more_deconvolutions_than_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="need more than 4 stages"):
        decided("heatmaps", [4] * 4)
    assert decided("classifier", [4] * 4).blocks()[-1].shape == (4, 32, 64)


def test_each_block_of_each_stage_has_a_place_of_its_own_whatever_the_widths() -> None:
    open_ = description("heatmaps", [choice(3, 4), choice(2, 3)])
    open_["stages"][1] |= {"depth": choice(1, 2), "width": choice(3, 4), "block": {"kernel": choice(3, 7)}}
    found = space(open_, Signature((3, 32, 32), 2))
    assert found.count == 2 * 2 * 2 * (2 + 2 * 2)
    rows = found.sample(np.random.default_rng(0), 40)
    placements = Placements(found)
    for row, units in zip(rows, placements.of(rows), strict=True):
        expected = [(place.part, place.shape) for place in found.decode(row).blocks()]
        assert [(placements.units[u].part, placements.units[u].shape) for u in units if u >= 0] == expected
    assert sum(isinstance(slot.part, InvertedBottleneck) for slot in placements.slots) == 1 + 5


def macs(kernel: int) -> int:
    """Of the published LitePose-Auto-XS at 256 pixels, with one of its two heads."""
    stages = [
        {"depth": depth, "width": width, "stride": stride, "block": {"kernel": kernel}}
        for depth, width, stride in ((6, 16, 2), (8, 32, 2), (10, 48, 2), (10, 80, 1))
    ]
    xs = {"kind": "litepose", "stem": {**STEM, "width": 32}, "width": 16, "stages": stages, "head": "heatmaps"}
    found: SearchSpace = space({**xs, "deconvolutions": [16, 24]}, Signature((3, 256, 256), 28))
    return architecture_cost(found.decode(np.zeros(0, dtype=np.int64))).macs


def test_the_work_of_a_published_network_is_the_sum_over_its_layers() -> None:
    def stage(before: int, width: int, depth: int, stride: int, size: int) -> int:
        total = 0
        for index in range(depth):
            hidden, step = 6 * (before if index == 0 else width), stride if index == 0 else 1
            inner = size // stride
            total += (inner * step) ** 2 * hidden * hidden // 6 + inner**2 * hidden * (49 + width)
        return total

    expected = 128**2 * (27 * 32 + 9 * 32 + 32 * 16)
    for before, width, depth, stride, size in (
        (16, 16, 6, 2, 128), (16, 32, 8, 2, 64), (32, 48, 10, 2, 32), (48, 80, 10, 1, 16)
    ):  # fmt: skip
        expected += stage(before, width, depth, stride, size)
    expected += 16**2 * 16 * (80 + 48) * 16 + 32**2 * 16 * (16 + 32) * 24
    expected += 64**2 * (24 + 16) * (25 + 28)
    assert macs(7) == expected
    assert macs(3) < macs(7) < 1.5 * macs(3)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classifier", "heatmaps"])
def test_exported_files_and_source_compute_the_same_and_int8_nearly(head: str, tmp_path: Path) -> None:
    network = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")) | {"head": head}
    for stage in network["stages"]:
        stage["block"]["quantization"] = {"kind": "integer"}
    found = space(network, Signature((1, 8, 8), 10))
    model = deployable(found.decode(found.sample(np.random.default_rng(3), 1)[0]))
    inputs = model.calibration[:50]
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(inputs)).numpy()

    def run(path: Path) -> np.ndarray:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs})[0]

    np.testing.assert_allclose(run(Onnx().write(model, tmp_path)[0]), expected, rtol=0, atol=1e-5 * expected.std())
    off = run(OnnxInt8().write(model, tmp_path)[0]) - expected
    assert 0 < np.square(off).mean() ** 0.5 < 0.1 * expected.std()
    Safetensors().write(model, tmp_path)
    scope: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "model"}
    exec(compile(source(model), "model.py", "exec"), scope)
    with torch.inference_mode():
        written = scope["load"]()(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(written, expected, rtol=0, atol=1e-5 * expected.std())
