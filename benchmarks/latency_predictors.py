"""How well latency is predicted on published tables of measurements, against what their noise allows.

A table is a CSV file, gzipped or not, with one architecture in each row and one latency in each column. For each device
some rows are learned from and all others predicted. Prints one JSON line for each device, and a summary:

    {"benchmark": "latency_predictors", "device": "pixel3", "spearman": 0.974, "ceiling": 0.988, "mape": 0.1, ...}

`ceiling` is the rank correlation that the truth itself would have with the measurements: the square root of that
between two rows that run the same graph, where the space knows such rows. Figures are means over seeds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from predictors._role import Examples, Model, Predictor
from predictors.encodings import nas_bench_201
from predictors.encodings._role import Encoding, Floats, Genes
from predictors.encodings.columns import Columns
from predictors.encodings.fbnet import FBNet
from predictors.gaussian_process import GaussianProcess
from searchspaces.parse import parse

BLOCKS = 10
PAIRS = 30
"""A ceiling is told from this many pairs on."""
SPEED_ROWS = 100_000
SOURCE_ROWS = 900
LEVEL = 0.9
Rows = npt.NDArray[np.int64]


@dataclass
class Table:
    """Architectures of one space, and their latency in milliseconds on each device."""

    encoding: Encoding
    matrix: Genes
    latencies: Mapping[str, Floats]

    @cached_property
    def pairs(self) -> Rows:
        """Rows that run the same graph, none of them in two pairs: [pairs, 2]."""
        _, group = np.unique(self.encoding.canonical(self.matrix), axis=0, return_inverse=True)
        order = np.argsort(group, kind="stable")
        members = [list(rows) for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1)]
        found = [pair for rows in members for pair in zip(rows[::2], rows[1::2], strict=False)]
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def ceiling(self, device: str) -> dict[str, float]:
        """`ceiling`, where it is known."""
        if len(self.pairs) < PAIRS:
            return {}
        first, second = self.latencies[device][self.pairs].T
        return {"ceiling": float(np.sqrt(max(spearmanr(first, second).statistic, 0.0)))}


def main() -> None:
    arguments = _arguments()
    with threadpool_limits(1):
        for line in measure(made_up() if arguments.quick else read(arguments), arguments):
            print(json.dumps({"benchmark": "latency_predictors", **line}), flush=True)


def measure(table: Table, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each device and the summary."""
    predictor = parse(Predictor, {"kind": arguments.predictor})
    devices = list(table.latencies) if arguments.device == "all" else [_device(arguments.device)]
    known: dict[str, Model] = {}
    lines = []
    for device in devices:
        sources = tuple(source(table, name, known) for name in _sources(table, device, arguments.sources))
        found = [scores(table, device, predictor, sources, seed, arguments) for seed in range(arguments.seeds)]
        means = {key: float(np.mean([score[key] for score in found if key in score])) for key in found[0]}
        facts = {"device": device, "predictor": predictor.kind(), "sources": len(sources), "seeds": arguments.seeds}
        lines.append({**facts, **means, **table.ceiling(device)})
        yield lines[-1]
    yield summary(lines)


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the devices, and the largest distance from a ceiling."""
    keys = ("spearman", "mape", "within_5", "within_10", "coverage", "rows_per_second")
    gaps = [line["ceiling"] - line["spearman"] for line in lines if "ceiling" in line]
    worst = {"largest_gap": max(gaps)} if gaps else {}
    return {"devices": len(lines), **{key: float(np.mean([line[key] for line in lines])) for key in keys}, **worst}


def scores(
    table: Table,
    device: str,
    predictor: Predictor,
    sources: tuple[Model, ...],
    seed: int,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """How a predictor that learns from some rows predicts the others."""
    learned, unseen = split(len(table.matrix), arguments.train, arguments.split, seed)
    values = table.latencies[device]
    examples = Examples(table.encoding, table.matrix[learned], values[learned], sources, seed)
    began = time.perf_counter()
    model = predictor.fit(examples)
    seconds = time.perf_counter() - began
    mean, (low, high) = model.predict(table.matrix[unseen]).mean, model.interval(table.matrix[unseen], LEVEL)
    truth = values[unseen]
    errors = np.abs(mean / truth - 1)
    return {
        "train": len(learned),
        "test": len(unseen),
        "spearman": float(spearmanr(mean, truth).statistic),
        "mape": float(errors.mean()),
        "within_5": float((errors <= 0.05).mean()),
        "within_10": float((errors <= 0.1).mean()),
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "fit_seconds": seconds,
        **(
            {}
            if seed
            else {"rows_per_second": speed(model, table.matrix, SPEED_ROWS // (100 if arguments.quick else 1))}
        ),
    }


def split(rows: int, train: int, by: str, seed: int) -> tuple[Rows, Rows]:
    """The rows to learn from and those to predict: drawn at random, or from other tenths of the table."""
    rng = np.random.default_rng(seed)
    if by == "rows":
        order = rng.permutation(rows)
        return order[:train], order[train:]
    block = np.arange(rows) * BLOCKS // rows
    held_out = np.isin(block, rng.permutation(BLOCKS)[: BLOCKS // 5])
    return rng.permutation(np.flatnonzero(~held_out))[:train], np.flatnonzero(held_out)


def speed(model: Model, matrix: Genes, rows: int) -> float:
    """Rows whose mean and deviation are predicted in a second of one processor core: the best of three."""
    population = matrix[np.random.default_rng(0).integers(0, len(matrix), rows)]
    model.predict(population[:1000])
    taken = []
    for _ in range(3):
        began = time.process_time()
        model.predict(population)
        taken.append(time.process_time() - began)
    return rows / min(taken)


def source(table: Table, device: str, known: dict[str, Model]) -> Model:
    """A model of another device, fitted once."""
    if device not in known:
        rows = np.random.default_rng(0).permutation(len(table.matrix))[:SOURCE_ROWS]
        known[device] = GaussianProcess().fit(
            Examples(table.encoding, table.matrix[rows], table.latencies[device][rows])
        )
    return known[device]


def read(arguments: argparse.Namespace) -> Table:
    """The table of a file."""
    opened = gzip.open if arguments.table.suffix == ".gz" else open
    with opened(arguments.table, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    given = [] if arguments.device == "all" else [arguments.device]
    names = [name for name in rows[0] if name.startswith("latency") and not name.startswith("latency_std")]
    wanted = {_device(name): name for name in [*names, *(name for name in given if name in rows[0])]}
    latencies = {device: np.array([float(row[name]) for row in rows]) for device, name in wanted.items()}
    return Table(*encoded(rows, arguments), latencies)


def encoded(rows: list[dict[str, str]], arguments: argparse.Namespace) -> tuple[Encoding, Genes]:
    """The rows' architectures."""
    if arguments.space == "nas_bench_201":
        return nas_bench_201.NasBench201(), np.array([nas_bench_201.parse(row["arch_str"]) for row in rows])
    if arguments.space == "fbnet":
        return FBNet(), np.array([[int(option) for option in row["arch"].split()] for row in rows])
    values = {name: np.array([float(row[name]) for row in rows]) for name in arguments.features}
    encoding = Columns(values)
    return encoding, encoding.encode(values)


def made_up() -> Table:
    """Cells on two devices that do not exist: sums of amounts, with one per cent of noise."""
    rng, encoding = np.random.default_rng(0), nas_bench_201.NasBench201()
    matrix = rng.integers(0, encoding.sizes, size=(600, len(encoding.sizes)))
    amounts = encoding.physics(matrix)
    rates = rng.uniform(1, 2, size=(2, amounts.shape[1])) / amounts.mean(axis=0)
    noise = rng.lognormal(0, 0.01, size=(2, len(matrix)))
    latencies = (1 + rates @ amounts.T) * noise
    return Table(encoding, matrix, {"one": latencies[0], "other": latencies[1]})


def _device(name: str) -> str:
    return name.removeprefix("latency_ms.")


def _sources(table: Table, device: str, names: list[str]) -> list[str]:
    """The devices that are known beforehand."""
    if names == ["others"]:
        return [name for name in table.latencies if name != device]
    return [_device(name) for name in names]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small table that is made up: shows that it runs")
    parser.add_argument("--table", type=Path, help="the measurements")
    parser.add_argument("--space", choices=("nas_bench_201", "fbnet", "columns"), default="nas_bench_201")
    parser.add_argument("--device", default="all", metavar="COLUMN", help="one latency column, or all in turn")
    parser.add_argument(
        "--sources", nargs="*", default=[], metavar="COLUMN", help="known devices; `others`: all others"
    )
    parser.add_argument("--train", type=int, default=900, help="rows that are learned from")
    parser.add_argument("--seeds", type=int, default=3, help="draws of them")
    parser.add_argument("--predictor", default="gaussian_process", help="a kind of predictor")
    parser.add_argument("--features", nargs="+", default=[], metavar="COLUMN", help="of the space `columns`")
    parser.add_argument("--split", choices=("rows", "blocks"), default="rows", help="blocks: where sessions drift")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.train, arguments.seeds = 60, 1
    elif arguments.table is None:
        parser.error("--table is needed, or --quick")
    elif arguments.space == "columns" and not arguments.features:
        parser.error("the space `columns` needs --features")
    return arguments


if __name__ == "__main__":
    main()
