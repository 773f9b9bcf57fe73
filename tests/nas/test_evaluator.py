"""Costs of whole populations against those of each network alone, and the error under shared weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardware.backends.roofline import Roofline
from hardware.profile import profile
from hardware.store import LatencyStore
from nas.data.digits import Digits
from nas.evaluator import CostTables, Evaluator, error
from nas.tasks.classification import Classification
from predictors._role import Examples
from predictors.encodings.space import SpaceEncoding
from predictors.latency_table import LatencyTable
from searchspaces.cost import architecture_cost, cost
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import METAFORMER, space

TASK = Classification(data=Digits(calibration=64)).load()


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> CostTables:
    found = space(METAFORMER, Signature(*TASK.signature()))
    placements = Placements(found)
    with LatencyStore(tmp_path_factory.mktemp("table") / "table.sqlite") as store:
        table = SpaceEncoding(placements, profile(placements.units, (1, 8, 8), Roofline(), store))
    return CostTables(placements, {"latency_ms": LatencyTable().fit(Examples.none(table))})


def test_costs_of_a_population_are_those_of_each_network(costs: CostTables) -> None:
    found = costs.placements.space
    rows = found.sample(np.random.default_rng(0), 10)
    table = costs(rows)
    for index, row in enumerate(rows):
        architecture = found.decode(row)
        alone = architecture_cost(architecture)
        stored = sum(
            cost(p.part, p.shape).parameters * p.part.quantization.stored_bits / 8 for p in architecture.blocks()
        )
        assert table["macs"][index] == alone.macs and table["parameters"][index] == alone.parameters
        assert table["model_bytes"][index] == stored
        assert table["peak_memory_bytes"][index] == stored + alone.peak_activation_bytes


def test_quantization_shrinks_the_model_and_nothing_else(costs: CostTables) -> None:
    found = costs.placements.space
    names = [decision.name for decision in found.decisions]
    rows = found.sample(np.random.default_rng(0), 400)
    column = names.index("space.stages.1.block.quantization")
    rows = rows[found.active(rows)[:, column]][:20]
    plain, quantized = rows.copy(), rows.copy()
    plain[:, column], quantized[:, column] = 0, 1
    before, after = costs(plain), costs(quantized)
    assert (after["model_bytes"] < before["model_bytes"]).all()
    assert (after["macs"] == before["macs"]).all() and (after["parameters"] == before["parameters"]).all()


def test_an_architecture_is_judged_on_validation_images_after_recalibration(costs: CostTables) -> None:
    torch.manual_seed(0)
    supernet = Supernet(costs.placements)
    evaluator = Evaluator(supernet, TASK, costs.placements.space)
    row = costs.placements.space.sample(np.random.default_rng(3), 1)[0]
    found = evaluator.error(row)
    network = supernet.subnet(costs.placements.space.decode(row))
    network.recalibrate([inputs for inputs, _ in TASK.calibration()])
    logits = torch.cat([network(inputs) for inputs, _ in TASK.validation()])
    targets = torch.cat([targets for _, targets in TASK.validation()])
    wrong = int((logits.argmax(1) != targets).sum())
    assert found == error(network, TASK) == pytest.approx(wrong / len(targets), rel=1e-12)
    assert evaluator.error(row) == found
