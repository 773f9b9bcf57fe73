"""Networks of cells on hardware: the graph that runs is the network, and its latency the sum over its blocks."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from hardware.backends._local import float_module
from hardware.backends._onnx import float_models, integer_blocks, quantized
from hardware.backends._role import Workload
from hardware.backends.roofline import Roofline
from hardware.fusion import adjacent
from hardware.onnx_nodes import weighted_nodes
from hardware.profile import profile
from hardware.store import LatencyStore
from searchspaces.architecture import Architecture
from searchspaces.blocks.concatenation import Concatenation
from searchspaces.blocks.sum import Sum
from searchspaces.networks._role import Signature
from searchspaces.networks.cell import Cell
from searchspaces.networks.nas_bench_201 import NasBench201, from_string
from searchspaces.placements import Placements
from searchspaces.quantization.integer import Integer
from searchspaces.space import SearchSpace

SIGNATURE = Signature((3, 9, 7), 4)
STRING = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
BATCH = 2


def cell(**fields: object) -> Architecture:
    space = SearchSpace.of(Cell(filters=4, stages=(1, 1), nodes=2, **fields), SIGNATURE)  # type: ignore[arg-type]
    return space.decode(space.sample(np.random.default_rng(0), 1)[0])


NETWORKS = {"cell": cell(), "nas_bench_201": from_string(STRING, SIGNATURE, NasBench201(filters=4, cells=1))}


def run(model: onnx.ModelProto, samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": samples})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_exported_one_by_one_are_wired_to_the_network(name: str) -> None:
    job = Workload(NETWORKS[name], NETWORKS[name].build(quantize=False).state_dict())
    (model,) = float_models([job], BATCH)
    assert isinstance(model, onnx.ModelProto)
    onnx.checker.check_model(model, full_check=True)
    samples = np.random.default_rng(0).standard_normal((BATCH, *SIGNATURE.input_shape), dtype=np.float32)
    with torch.inference_mode():
        expected = float_module(job)(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(run(model, samples), expected, atol=1e-5)


def test_integer_blocks_of_a_cell_are_quantized_and_no_others() -> None:
    network = cell(quantization=Integer())
    samples = np.random.default_rng(0).standard_normal((8, *SIGNATURE.input_shape), dtype=np.float32)
    job = Workload(network, network.build(quantize=False).state_dict(), samples)
    (model,) = float_models([job], BATCH)
    assert isinstance(model, onnx.ModelProto)
    convolutions = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    assert set(weighted_nodes(model, integer_blocks(job))) == convolutions
    joins = [n for n, place in enumerate(network.blocks()) if isinstance(place.part, Sum | Concatenation)]
    assert not set(joins) & set(integer_blocks(job))
    expected, found = run(model, samples[:BATCH]), run(quantized(job, model, BATCH), samples[:BATCH])
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("network", [Cell(filters=4, stages=(1, 1), nodes=2), NasBench201(filters=4, cells=1)], ids=str)
def test_a_profile_predicts_what_the_backend_says(network: Cell | NasBench201) -> None:
    space = SearchSpace.of(network, SIGNATURE)
    placements = Placements(space)
    with LatencyStore(":memory:") as store:
        found = profile(placements.units, space.input_shape, Roofline(), store)
    for row in space.sample(np.random.default_rng(0), 5):
        architecture = space.decode(row)
        assert found.predict_ms(architecture) == pytest.approx(Roofline().estimate(architecture).milliseconds)


def test_pairs_for_fusion_are_blocks_of_which_one_alone_reads_the_other() -> None:
    network = NETWORKS["nas_bench_201"]
    with LatencyStore(":memory:") as store:
        found = profile(network.blocks(), network.input_shape, Roofline(), store)
    pairs = adjacent(found, [network], 100)
    trace = network.traced()
    wired = {
        (trace.placements[sources[0] - 1].part, block.part)
        for block, sources in zip(trace.placements, trace.wires, strict=True)
        if len(sources) == 1 and sources[0]
    }
    assert pairs and {(first.part, second.part) for first, second in pairs} <= wired
    assert not any(isinstance(second.part, Sum) for _, second in pairs)
    assert any(isinstance(first.part, Sum) for first, _ in pairs), "the last sum of a cell and the residual block"
