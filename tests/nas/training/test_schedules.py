"""What each schedule trains in a step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.digits import Digits
from nas.tasks.classification import Classification
from nas.training._levels import at_levels, fields
from nas.training._role import Trainee, Training
from nas.training.attentive import Attentive, alike
from nas.training.fair import Fair, fair_rows
from nas.training.nested import Nested
from nas.training.sandwich import Sandwich
from nas.training.single_path import SinglePath
from nas.training.sorted import Sorted
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.space import Genes
from searchspaces.supernet import Supernet
from tests.nas.training.test_conformance import noting
from tests.searchspaces.spaces import choice, space

NETWORK = {
    "kind": "mobilenet",
    "stem": {"width": choice(4, 8), "stride": 2},
    "stages": [
        {
            "depth": choice(1, 2, 3),
            "width": 8,
            "block": {
                "kernel": choice(3, 5, 7),
                "expansion": choice(2.0, 3.0, 4.0),
                "gate": choice({"kind": "none"}, {"kind": "squeeze_excitation"}),
            },
        }
    ],
}


@pytest.fixture(scope="module")
def trainee() -> Trainee:
    task = Classification(data=Digits()).load()
    placements = Placements(space(NETWORK, Signature(*task.signature())))
    torch.manual_seed(0)
    return Trainee(Supernet(placements), placements, task)


def trained(training: Training, trainee: Trainee, seed: int = 0) -> Genes:
    """The rows [n, decisions] that a step trains."""
    batch = next(trainee.task.train_batches(0, 0, 32))
    with noting() as found:
        for _ in training.losses(trainee, batch, np.random.default_rng(seed)):
            pass
    return np.array([trainee.placements.space.encode(subnet.architecture) for subnet in found])


def test_decisions_know_their_field(trainee: Trainee) -> None:
    decisions = trainee.placements.space.decisions
    assert Counter(decision.field for decision in decisions) == {
        "width": 1,
        "depth": 1,
        "kernel": 3,
        "expansion": 3,
        "gate": 3,
    }
    assert {decision.field for decision in decisions if not decision.ordered} == {"gate"}
    assert fields(trainee) == ["depth", "expansion", "kernel", "width"]


def test_orders_end_with_the_extremes(trainee: Trainee) -> None:
    sizes = [len(decision.options) for decision in trainee.placements.space.decisions]
    assert [sorted(order) for order in trainee.orders] == [list(range(size)) for size in sizes]
    macs = [trainee.macs(trainee.placements.space.encode(one)[None])[0] for one in trainee.extremes]
    sampled = trainee.macs(trainee.placements.space.sample(np.random.default_rng(0), 50))
    assert macs[0] <= sampled.min() and sampled.max() <= macs[1]


def test_a_single_path_is_one_random_architecture(trainee: Trainee) -> None:
    rows = [trained(SinglePath(), trainee, seed) for seed in range(6)]
    assert all(len(found) == 1 for found in rows)
    assert len({tuple(found[0]) for found in rows}) > 3


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 9))
def test_fair_rows_hold_every_option_equally_often_but_for_one(sizes: list[int], seed: int) -> None:
    rows = fair_rows(np.array(sizes), np.random.default_rng(seed))
    assert len(rows) == max(sizes)
    for size, column in zip(sizes, rows.T, strict=True):
        counts = Counter(column.tolist())
        assert set(counts) == set(range(size)) and max(counts.values()) - min(counts.values()) <= 1


def test_a_fair_step_trains_each_option_once(trainee: Trainee) -> None:
    rows = trained(Fair(), trainee)
    depth, kernel = (trainee.placements.space.index[f"space.stages.0.{name}"] for name in ("depth", "block.kernel[0]"))
    assert sorted(rows[:, depth]) == [0, 1, 2] and sorted(rows[:, kernel]) == [0, 1, 2]
    assert len(fair_rows(np.zeros(0, dtype=np.int64), np.random.default_rng(0))) == 1


def test_levels_are_nested(trainee: Trainee) -> None:
    decisions, macs = trainee.placements.space.decisions, []
    ranks = [{option: rank for rank, option in enumerate(order)} for order in trainee.orders]
    before = np.zeros(len(decisions))
    for level in (0.0, 0.5, 1.0):
        rng = np.random.default_rng(0)
        row = trainee.placements.space.encode(at_levels(trainee, dict.fromkeys(fields(trainee), level), rng))
        macs.append(trainee.macs(row[None])[0])
        active = trainee.placements.space.active(row[None])[0]
        now = np.array([ranks[n][int(gene)] for n, gene in enumerate(row)])
        ordered = np.array([decision.ordered for decision in decisions]) & active
        assert (now[ordered] >= before[ordered]).all()
        before = np.where(ordered, now, before)
    assert macs == sorted(macs) and len(set(macs)) == 3


def options(trainee: Trainee, row: Genes, field: str) -> set[object]:
    """The active options of a field."""
    space = trainee.placements.space
    chosen = space.describe_row(row)
    return {chosen[found.name] for found in space.decisions if found.field == field and found.name in chosen}


@pytest.mark.parametrize("training", [Sorted(networks=3), Nested()], ids=lambda training: training.kind())
def test_a_field_has_one_level_at_all_places(training: Training, trainee: Trainee) -> None:
    rows = np.concatenate([trained(training, trainee, seed) for seed in range(16)])
    assert len(rows) == 16 * (3 if isinstance(training, Sorted) else 1)
    for field in ("kernel", "expansion"):
        assert all(len(options(trainee, row, field)) == 1 for row in rows)
        assert len({frozenset(options(trainee, row, field)) for row in rows}) == 3


def test_granularities_are_common_to_all_fields_and_levels_are_not(trainee: Trainee) -> None:
    def pairs(training: Training) -> set[tuple[object, object]]:
        rows = np.concatenate([trained(training, trainee, seed) for seed in range(12)])
        return {(*options(trainee, row, "kernel"), *options(trainee, row, "expansion")) for row in rows}

    assert pairs(Nested(granularities=3)) == {(3, 2.0), (5, 3.0), (7, 4.0)}
    assert len(pairs(Sorted(levels=3))) > 3


def test_attentive_chooses_among_architectures_of_about_one_cost(trainee: Trainee) -> None:
    found = alike(trainee, np.random.default_rng(3), 4)
    macs = trainee.macs(np.array([trainee.placements.space.encode(one) for one in found]))
    assert len(found) == 4 and max(abs(macs / macs[0] - 1)) < 0.2


@pytest.mark.parametrize(("toward", "pick"), [("best", min), ("worst", max)])
def test_attentive_trains_the_best_or_the_worst_of_its_candidates(trainee: Trainee, toward: str, pick: object) -> None:
    training = Attentive(random=1, candidates=5, toward=toward)  # type: ignore[arg-type]
    batch = next(trainee.task.train_batches(0, 0, 32))
    candidates = alike(trainee, np.random.default_rng(4), 5)
    with torch.no_grad():
        losses = {a.id: trainee.task.loss(trainee.subnet(a)(batch[0]), batch[1]).item() for a in candidates}
    with noting() as found:
        assert len(list(training.losses(trainee, batch, np.random.default_rng(4)))) == 3
    smallest, largest = trainee.extremes
    chosen = pick(losses, key=losses.__getitem__)  # type: ignore[operator]
    assert [subnet.architecture.id for subnet in found] == [largest.id, smallest.id, chosen]


def test_attentive_without_a_choice_is_the_sandwich(trainee: Trainee) -> None:
    batch = next(trainee.task.train_batches(0, 0, 32))
    losses = [
        [loss.item() for loss in training.losses(trainee, batch, np.random.default_rng(0))]
        for training in (Attentive(random=0), Sandwich(random=0))
    ]
    assert losses[0] == losses[1]


def test_one_architecture_alone_is_trained_with_the_same_optimizer() -> None:
    alone = SinglePath.alone(Sandwich(epochs=7, weight_decay=0.5, batch_size=9, warmup=0.2), epochs=3)
    assert alone == SinglePath(epochs=3, weight_decay=0.5, batch_size=9, warmup=0.2)
    assert SinglePath.alone(Sandwich(), 1, 1e-5).learning_rate == 1e-5
