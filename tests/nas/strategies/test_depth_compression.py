"""Depth compression: both stages against every possible way, and the strategy on runs of convolutions."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.archive import Archive
from nas.config import read
from nas.problem import Floats, Genes, Problem
from nas.progress import LineProgress
from nas.run import Run
from nas.strategies._depth import compressions, fastest
from nas.strategies.depth_compression import DepthCompression, open_runs, proposals
from searchspaces.architecture import Architecture
from searchspaces.fused import fused
from searchspaces.importance import standalone
from searchspaces.space import SearchSpace
from tests.nas.experiments import written
from tests.nas.tabulated import problem
from tests.searchspaces.spaces import choice, space

Tables = tuple[Floats, Floats, Floats]


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Latencies of stretches, of parting and importances, whole numbers so that ties occur; some merge never."""
    n = draw(st.integers(1, 6))
    latency, importance = np.full((n + 1, n + 1), np.inf), np.full((n + 1, n + 1), -np.inf)
    for k, end in itertools.combinations(range(n + 1), 2):
        alone = end == k + 1
        latency[k, end] = draw(st.integers(1, 9)) if alone or draw(st.booleans()) else np.inf
        importance[k, end] = draw(st.integers(-9, 0)) if alone or draw(st.integers(0, 4)) else -np.inf
    parting = np.array([draw(st.sampled_from([0.0, 1.0, np.inf])) for _ in range(n + 1)])
    return latency, parting, importance


def every_way(tables: Tables) -> list[tuple[float, float]]:
    """Latency and importance of every choice of kept, parted and merged joints."""
    latency, parting, importance = tables
    n, found = len(latency) - 1, []
    for joints in itertools.product(["kept", "parted", "merged"], repeat=n - 1):
        kept = [0, *(m for m, joint in enumerate(joints, 1) if joint == "kept"), n]
        ends = [0, *(m for m, joint in enumerate(joints, 1) if joint != "merged"), n]
        time = sum(latency[pair] for pair in itertools.pairwise(ends))
        time += sum(parting[m] for m, joint in enumerate(joints, 1) if joint == "parted")
        found.append((float(time), float(sum(importance[pair] for pair in itertools.pairwise(kept)))))
    return [way for way in found if np.isfinite(way).all()]


@given(tables())
def test_the_ways_found_are_the_best_for_every_budget(tables: Tables) -> None:
    ways = compressions(*tables)
    every = every_way(tables)
    for budget in sorted({time for time, _ in every}):
        best = max(value for time, value in every if time <= budget)
        assert max(way.importance for way in ways if way.latency <= budget) == best
    assert {(way.latency, way.importance) for way in ways} <= set(every)
    assert len({way.latency for way in ways}) == len(ways)


@given(tables())
def test_the_marks_of_a_way_add_up_to_its_latency_and_importance(tables: Tables) -> None:
    latency, parting, importance = tables
    for way in compressions(*tables):
        kept, ends = [0, *way.kept, len(latency) - 1], sorted({0, *way.kept, *way.parted, len(latency) - 1})
        assert not set(way.kept) & set(way.parted)
        time = sum(latency[pair] for pair in itertools.pairwise(ends)) + sum(parting[m] for m in way.parted)
        assert time == way.latency
        assert sum(importance[pair] for pair in itertools.pairwise(kept)) == way.importance


def test_a_stretch_is_parted_where_its_kernel_would_grow_too_large() -> None:
    latency = np.full((4, 4), np.inf)
    latency[0, 1], latency[1, 2], latency[2, 3] = 2, 2, 2
    latency[0, 2], latency[1, 3], latency[0, 3] = 3, 5, 9
    best, parted = fastest(latency, np.zeros(4))
    assert best[0, 3] == 5 and parted[0, 3] == (2,)
    assert best[1, 3] == 4 and parted[1, 3] == (2,)
    assert parted[0, 2] == ()


RUN: dict[str, Any] = {"kind": "convolution_run", "links": [{"width": 4}] * 4}
JOINT = choice("activation", "linear", "merged")
PRICES = np.array([[5.0, 5.0, 1.0], [5.0, 4.0, 3.0], [5.0, 5.0, 2.0], [5.0, 5.0, 4.5]])
"""By joint and option."""


def runs() -> SearchSpace:
    """Three open joints in one run, one in another that can only merge, and a width."""
    first = {**RUN, "joints": [JOINT, JOINT, JOINT]}
    second = {**RUN, "links": [{"width": choice(3, 5)}, {"width": 4}], "joints": [choice("merged", "activation")]}
    blocks = [first, second, {"kind": "classifier", "classes": 5}]
    return space({"kind": "chain", "blocks": blocks})


def prices(found: SearchSpace) -> Any:
    """Costs that add up over joints, but for two neighbours that merge together."""

    def costs(rows: Genes) -> dict[str, Floats]:
        numbers = [found.index[f"space.blocks.{name}"] for name in ("0.joints.0", "0.joints.1", "0.joints.2")]
        a, b, c = (rows[:, number] for number in numbers)
        last = np.where(rows[:, found.index["space.blocks.1.joints.0"]] == 0, 4.5, 5.0)
        width = rows[:, found.index["space.blocks.1.links.0.width"]]
        together = 3.0 * ((a == 2) & (b == 2))
        return {"latency_ms": PRICES[0, a] + PRICES[1, b] + PRICES[2, c] + last + width + together}

    return costs


def changes(found: SearchSpace) -> Any:
    """Outputs change by each activation that is left out."""
    weights = np.array([1.0, 4.0, 2.0, 0.5])

    def distance(reference: Genes, rows: Genes) -> Floats:
        joints = [n for n, decision in enumerate(found.decisions) if ".joints." in decision.name]
        return (rows[:, joints] != reference[joints]) @ weights

    return distance


def test_the_joints_of_a_run_are_found_in_their_order() -> None:
    found = runs()
    names = [[found.decisions[joint.column].name for joint in run] for run in open_runs(real(found))]
    assert names == [[f"space.blocks.0.joints.{n}" for n in range(3)], ["space.blocks.1.joints.0"]]
    assert open_runs(problem()) == []


def real(found: SearchSpace, **bounds: float) -> Problem:
    goals: Any = {"error": "minimize", "latency_ms": "minimize"}
    return Problem(found, goals, bounds, prices(found), distance=changes(found))


def test_proposals_are_the_best_of_all_architectures_for_every_budget() -> None:
    found = runs()
    judged = real(found)
    wide = found.index["space.blocks.1.links.0.width"]
    rows = np.array(list(itertools.product(*map(range, found.sizes))))
    rows = found.canonical(rows[rows[:, wide] == 1])
    latency, lost = prices(found)(rows)["latency_ms"], changes(found)(proposals(judged)[0], rows)
    proposed = proposals(judged)
    times = prices(found)(proposed)["latency_ms"]
    away = changes(found)(proposed[0], proposed)
    for budget in np.unique(latency):
        assert away[times <= budget].min() == lost[latency <= budget].min(), budget
    assert proposed[0, wide] == 1 and (np.diff(times) < 0).all() and (np.diff(away) > 0).all()


def test_the_strategy_proposes_them_first_and_within_bounds() -> None:
    found = runs()
    bounded = real(found, latency_ms=15.0)
    expected = [row for row in proposals(real(found)).tolist() if prices(found)(np.array([row]))["latency_ms"][0] <= 15]
    rows = DepthCompression(evaluations=30).ask(bounded, Archive.memory(), 0)
    assert 2 < len(expected) <= len(rows) and rows[: len(expected)].tolist() == expected
    assert bounded.feasible(rows).all()


CHAIN = """
task: {kind: classification, data: {kind: digits, calibration: 64}}
space:
  kind: chain
  blocks:
    - kind: convolution_run
      links: [{width: 16, kernel: 1}, {width: 16}, {width: 4, kernel: 1}, {width: 8}]
      joints:
        - {choice: [activation, linear, merged]}
        - {choice: [activation, linear, merged]}
        - {choice: [activation, linear, merged]}
    - {kind: classifier, classes: 10}
hardware: {kind: roofline}
profile: {networks: 0, verified: 0}
training: {kind: sandwich, epochs: 1, batch_size: 256, random: 0}
objectives: {error: minimize, macs: minimize}
strategy: {kind: depth_compression, evaluations: 6}
executor: {kind: local, workers: 1}
"""


def test_a_run_evaluates_mergers_that_compute_what_was_trained(tmp_path: Path) -> None:
    run = Run(read(written(tmp_path, CHAIN)), tmp_path, LineProgress(io.StringIO()))
    run.train(), run.search()
    with run.open_archive() as archive:
        trials = archive.trials()
    joints = [trial.architecture["layers"][0]["joints"] for trial in trials]
    assert joints[0] == ["activation"] * 3 and any("merged" in found for found in joints)
    costs = [trial.values["macs"] for trial in trials[: len(proposals(run.problem))]]
    assert costs == sorted(costs, reverse=True) and len(costs) > 1
    smallest = Architecture.parse(min(trials, key=lambda trial: trial.values["macs"]).architecture)
    network = standalone(run.trainee.supernet, smallest, [torch.randn(64, 1, 8, 8)])
    x = torch.randn(5, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(fused(network)(x), network(x), rtol=0, atol=1e-5)
    convolutions = [sum(isinstance(m, torch.nn.Conv2d) for m in net.modules()) for net in (network, fused(network))]
    assert convolutions[0] == 4 > convolutions[1]
