"""The page of a profile: how it was measured, and how well it tells what was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.fusion import PairTest
from nas.files import write_atomic
from nas.report import sections
from nas.report.assets import asset
from nas.report.profile_results import FOLDS, ProfileResults
from nas.report.wording import embedded, escape, quantity
from searchspaces.part import Part

_WORST = 15
"""Rows of the tables of blocks."""
_VERDICTS = {True: "fused", False: "not fused", None: "open: within the noise"}


def write_profile_page(results: ProfileResults, path: Path, name: str) -> Path:
    """Writes the page to a file; returns its path.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomic(path, page(results, name))
    return path


def page(results: ProfileResults, name: str) -> str:
    """The whole page: one HTML file that needs nothing but itself."""
    from plotly.offline import get_plotlyjs

    figures = "".join(f"<div><dd>{value}</dd><dt>{escape(text)}</dt></div>" for text, value in figures_of(results))
    return Template(asset("profile.html")).substitute(
        title=escape(f"{name} · latency profile"),
        name=escape(name),
        headline=escape(headline(results)),
        lead=escape(lead(results)),
        figures=figures,
        blocks=blocks(results),
        doubtful=doubtful(results),
        fusions=fusions(results.pairs),
        inversions=inverted(results),
        failures=failures(results),
        windows=windows(results),
        device=sections.device(Device.here().describe()),
        style=asset("style.css"),
        plotly=get_plotlyjs(),
        script=asset("profile.js"),
        data=embedded(charts(results)),
    )


def headline(results: ProfileResults) -> str:
    """The finding in one sentence."""
    return f"Half of the networks are predicted within {_percent(results.scores.median_error)}"


def lead(results: ProfileResults) -> str:
    """How that was found out."""
    backend = results.backend
    return (
        f"{len(results.networks)} random networks were measured on {backend.kind()} ({backend.threads} thread(s), "
        f"batch {backend.batch_size}); each is predicted here by a model that did not learn from it ({FOLDS} folds)."
    )


def figures_of(results: ProfileResults) -> list[tuple[str, str]]:
    """The scores, each with what it could be at best."""
    scores, measured = results.scores, sum(map(results.profile.measured, results.units))
    return [
        ("within 5 %", _percent(scores.within_5)),
        ("within 10 %", _percent(scores.within_10)),
        (f"rank correlation; noise allows {scores.ceiling:.3f}", f"{scores.spearman:.3f}"),
        ("median error", f"{_percent(scores.median_error)}"),
        ("difference of two halves of a measurement: the noise", _percent(scores.noise)),
        ("of the intervals hold the measurement", _percent(scores.covered)),
        (f"of {len(results.units)} blocks measured", str(measured)),
    ]


def charts(results: ProfileResults) -> dict[str, Any]:
    """Data of both charts."""
    low, high = results.intervals
    texts = [
        f"<b>{escape(network.id)}</b><br>predicted {quantity('latency_ms', float(believed))}"
        f"<br>measured {quantity('latency_ms', float(measured))}<br>off by {_percent(float(error), signed=True)}"
        for network, believed, measured, error in zip(
            results.networks, results.believed, results.measured_ms, results.errors, strict=True
        )
    ]
    return {
        "measured": results.measured_ms.tolist(),
        "believed": results.believed.tolist(),
        "up": np.maximum(high - results.believed, 0).tolist(),
        "down": np.maximum(results.believed - low, 0).tolist(),
        "errors": (100 * results.errors).tolist(),
        "text": texts,
    }


def blocks(results: ProfileResults) -> str:
    """The dearest blocks."""
    values = results.profile.contributions_ms(results.units)
    order = np.argsort(-np.where(np.isfinite(values), values, -1.0), kind="stable")[:_WORST]
    rows = [(*_block(results, int(n)), quantity("latency_ms", float(values[n])), _how(results, int(n))) for n in order]
    return table(("Block", "Input", "Contribution", "How"), rows)


def doubtful(results: ProfileResults) -> str:
    """The blocks whose networks are predicted worst."""
    tokens = [{(block.part, block.shape) for block in network.blocks()} for network in results.networks]
    found = []
    for number, unit in enumerate(results.units):
        errors = [e for have, e in zip(tokens, results.errors, strict=True) if (unit.part, unit.shape) in have]
        if len(errors) >= 3:
            found.append((abs(float(np.mean(errors))), float(np.mean(errors)), len(errors), number))
    found.sort(reverse=True)
    rows = [(*_block(results, n), _percent(mean, signed=True), str(count)) for _, mean, count, n in found[:_WORST]]
    return table(("Block", "Input", "Mean error of its networks", "Networks"), rows)


def fusions(pairs: Sequence[PairTest]) -> str:
    """The tests for fusion."""
    rows = [
        (
            escape(f"{_brief(pair.first.part)} → {_brief(pair.second.part)}"),
            escape(str(pair.first.shape)),
            quantity("latency_ms", sum(pair.apart_ms)),
            quantity("latency_ms", pair.together_ms),
            "–" if pair.kernels is None else f"{pair.kernels[0]} → {pair.kernels[1]}",
            _VERDICTS[pair.fused],
        )
        for pair in pairs
    ]
    return table(("Pair", "Input", "Apart", "Together", "Kernels", "Verdict"), rows)


def inverted(results: ProfileResults) -> str:
    """Larger blocks that measure faster, although measured twice."""
    return listed(escape(str(inversion)) for inversion in results.inverted)


def failures(results: ProfileResults) -> str:
    """The blocks that cannot be run, in the runtime\'s words."""
    failed = results.profile.failures(results.units)
    return listed(
        f"{escape(_brief(unit.part))} on {escape(str(unit.shape))}: <strong>{escape(found.state)}</strong>, "
        f"{escape(found.reason[:300])}"
        for unit, found in failed.items()
    )


def windows(results: ProfileResults) -> str:
    """When and under which conditions everything was measured."""
    rows = [
        (
            escape(window.started or "–"),
            ", ".join("–" if ms is None else f"{ms:.4f}" for ms in window.references_ms) or "–",
            "–" if window.moved is None else _percent(window.moved),
            str(window.attempt + 1),
            "steady" if window.steady else "moved",
            escape(_conditions(window.conditions)),
        )
        for window in results.windows[-3 * _WORST :]
    ]
    return table(("Begun (UTC)", "References, ms", "Moved", "Attempts", "Verdict", "Conditions"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table of HTML cells."""
    if not rows:
        return '<p class="quiet">None.</p>'
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def listed(items: Iterable[str]) -> str:
    """HTML items as a list."""
    body = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{body}</ul>" if body else '<p class="quiet">None.</p>'


def _block(results: ProfileResults, number: int) -> tuple[str, str]:
    """A block and its input shape."""
    unit = results.units[number]
    return f"<code>{escape(_brief(unit.part))}</code>", escape(" × ".join(map(str, unit.shape)))


def _how(results: ProfileResults, number: int) -> str:
    return "measured" if results.profile.measured(results.units[number]) else "estimated from its like"


def _brief(part: Part) -> str:
    """A block's kind with what differs from the defaults."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in type(part).model_fields.items()}
    inner = [f"{name}={_shown(value)}" for name, value in part.items() if value != defaults[name]]
    return f"{part.kind()}({', '.join(inner)})" if inner else part.kind()


def _shown(value: Any) -> str:
    return _brief(value) if isinstance(value, Part) else str(value)


def _percent(value: float, signed: bool = False) -> str:
    return f"{100 * value:+.1f}\u00a0%" if signed else f"{100 * value:.1f}\u00a0%"


def _conditions(conditions: Any) -> str:
    """What is known of the machine during a window."""
    known = {name: value for name, value in vars(conditions).items() if value not in (None, "", ())}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())
