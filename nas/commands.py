"""What the commands do that need the heavy libraries."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.store import LatencyStore
from hardware.subjects import unknown, wanted
from nas import folders
from nas.comparison import Comparison
from nas.config import ConfigurationError, described, read, read_run, read_source
from nas.lookup import Lookup, LookupRun
from nas.progress import progress
from nas.reading import read_any
from nas.run import Run
from nas.signals import InterruptedRun, Interruption
from nas.table import front_table
from nas.training._group import joined


@dataclass(frozen=True)
class Placing:
    """Where a run is kept, and whether it is a new one."""

    runs: Path
    name: str | None
    resume: bool

    def folder(self, config: Path) -> Path:
        """The run's folder.

        Raises:
            RunFolderError: it exists already, or there is none to resume, or it cannot be written.
        """
        find = folders.latest_run if self.resume else folders.new_run
        return find(self.runs, config.stem, self.name)


def search(config: Path, overrides: Sequence[str], placing: Placing, as_json: bool) -> str:
    """Runs the whole experiment; returns the front as text."""
    found = read_any(config, overrides)
    if isinstance(found, Comparison):
        raise ConfigurationError([f"{config}: compares strategies; run it with: nas compare {config}"])
    found.task.load()
    folder = placing.folder(config)
    with Interruption() as interruption:
        run = (LookupRun if isinstance(found, Lookup) else Run)(found, folder, progress(), interruption.check)  # type: ignore[arg-type]
        try:
            front = run.execute()
        except InterruptedRun as error:
            print(f"{error}; continue with: nas search {config} --resume --name {folder.name}", file=sys.stderr)
            sys.exit(error.exit_code)
    if as_json or isinstance(run, LookupRun):
        return json.dumps(front, indent=1)
    return front_table(front, folder)


def train(config: Path, overrides: Sequence[str], placing: Placing) -> Path:
    """Trains the shared weights of a run, in all processes of a group; returns its folder."""
    found = read(config, overrides)
    with joined() as group, Interruption() as interruption:

        def check() -> None:
            if group.any(interruption.requested):
                interruption.check()
                raise InterruptedRun(signal.SIGTERM)

        first = group.rank == 0
        folder = group.told(placing.folder(config) if first else Path())
        run = Run(found, folder, progress(sys.stderr if first else io.StringIO()), check)
        if first:
            with run.open_archive():
                run.write_resolved()
        try:
            run.train(group)
        except InterruptedRun as error:
            print(f"{error}; continue with: nas train {config} --resume --name {folder.name}", file=sys.stderr)
            sys.exit(error.exit_code)
    return folder


def compare(config: Path, overrides: Sequence[str], page: Path | None, as_json: bool) -> str:
    """Compares strategies on a table; returns the ranks, or everything as JSON."""
    from nas.comparison import compare as run
    from nas.comparison import competitors_of
    from nas.report.comparison_page import rank_lines, write_comparison_page

    found = described(read_source(config, overrides), Comparison)
    with progress().phase("compare", total=found.seeds * competitors_of(found)) as phase:
        results = run(found, lambda name: phase.advance(note=name))
    if page:
        write_comparison_page(results, page, config.stem)
        print(f"page  {page}", file=sys.stderr)
    return json.dumps(results, indent=1) if as_json else "\n".join(rank_lines(results))


def plan(config: Path, overrides: Sequence[str]) -> str:
    """What a search would do, in a few lines; nothing is written."""
    run = Run(read(config, overrides), Path(), progress())
    chains = wanted(run.experiment.hardware, run.placements.units, run.space.input_shape)
    missing = list(chains)
    if folders.latency_table().exists():
        with LatencyStore(folders.latency_table()) as store:
            missing = unknown(chains, store.get(run.experiment.hardware.key()))
    task, strategy = run.task, run.experiment.strategy
    weights = sum(parameter.numel() for parameter in run.trainee.supernet.parameters())
    return "\n".join(
        [
            f"task      {len(task.splits.train):,} training, {len(task.splits.validation):,} validation, "
            f"{len(task.splits.test):,} test images of {task.signature()[0]}",
            f"space     {len(run.space.decisions)} decisions, {run.space.count:,} architectures, {weights:,} weights",
            f"profile   {len(missing):,} chains of blocks to measure, {len(chains) - len(missing):,} known",
            f"training  {run.experiment.training.epochs} epochs, {run.experiment.training.kind()}",
            f"search    {strategy.evaluations:,} evaluations, {strategy.kind()}",
            f"export    at most {run.experiment.finalize.models} architectures",
        ]
    )


def profile_report(config: Path, overrides: Sequence[str], page: Path) -> Path:
    """Measures what the latency table lacks, blocks and networks, and writes the page of it; returns its path."""
    from nas.report.profile_page import write_profile_page
    from nas.report.profile_results import examine

    run = Run(read(config, overrides), Path(), progress())
    return write_profile_page(examine(run.profiler), page, config.stem)


def profile(config: Path, overrides: Sequence[str], as_json: bool, save: Path | None = None) -> str:
    """Measures what the latency table lacks, blocks and networks; returns the blocks by their contribution."""
    run = Run(read(config, overrides), Path(), progress())
    if save:
        run.profiler.save(save)
    found, units, networks = run.profiler.profile, run.placements.units, len(run.profiler.latency)
    failed, values = found.failures(units), found.contributions_ms(units)
    rows: list[dict[str, Any]] = [
        {"block": u.part.describe(), "shape": u.shape, "latency_ms": float(ms), "measured": found.measured(u)}
        for u, ms in zip(units, values, strict=True)
        if u not in failed
    ]
    rows.sort(key=lambda row: -row["latency_ms"])
    failures: list[dict[str, Any]] = [
        {"block": u.part.describe(), "shape": u.shape, "state": m.state, "reason": m.reason} for u, m in failed.items()
    ]
    overhead = found.overhead_ms
    if as_json:
        data = {"overhead_ms": overhead, "networks": networks, "blocks": rows, "failures": failures}
        return json.dumps(data, indent=1)
    lines = [f"{row['latency_ms']:9.4f} ms  {row['shape']}  {_brief(row['block'])}" for row in rows]
    lines += [f"{row['state']}  {row['shape']}  {_brief(row['block'])}: {row['reason']}" for row in failures]
    kept = f"with {networks} whole networks in {folders.latency_table()}"
    return "\n".join([f"{overhead:9.4f} ms  overhead of a call", *lines, kept])


def export(folder: Path, architecture: str, formats: list[str], to: Path | None) -> Path:
    """Exports one architecture of a run's archive; returns the folder."""
    from nas.finalize import exported
    from searchspaces.registry import did_you_mean

    run = opened(folder)
    with run.open_archive() as archive:
        trials = {trial.architecture_id: trial for trial in archive.trials()}
    if architecture not in trials:
        hint = did_you_mean(architecture, trials)
        raise ConfigurationError([f"{folder}: the archive holds no architecture {architecture}{hint}"])
    target = to or folder / "exports" / architecture
    exported(run, trials[architecture], target, formats or None)
    return target


def opened(folder: Path) -> Run:
    """A run that exists, from its resolved configuration.

    Raises:
        ConfigurationError: the folder holds no run.
    """
    run = Run(read_run(folder)[0], folder, progress())
    run.train()
    return run


def _brief(block: dict[str, Any]) -> str:
    """A block's description without what is default-like noise."""
    fields = (f"{key}={_brief(v) if isinstance(v, dict) else v}" for key, v in block.items() if key != "kind")
    inner = ", ".join(field for field in fields if not field.endswith(("=none", "=none()")))
    return f"{block['kind']}({inner})" if inner else str(block["kind"])
