"""What the charts of the page show, as plain data; `page.js` draws it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from nas.archive import Trial
from nas.report import quality
from nas.report.front import Model, median_latency_error
from nas.report.results import Results
from nas.report.summary import best
from nas.report.wording import Scale, escape, label, limit, percent, quantity, scale, signed

TOLERANCE = 0.15
"""Half of the band beside the line on which believed and measured latency are equal."""
_LOGARITHMIC = 20.0
"""Values that span this factor get a logarithmic axis, errors excepted."""
_OUTLYING = 1.5
_NEAR = 1.5
"""A bound beyond so many times the greatest value is told rather than drawn."""
_QUANTILE = 0.9


def charts(results: Results) -> dict[str, Any]:
    """Data of all charts, the models along the horizontal axis, and which of them to show first."""
    names = [model.id for model in results.ordered]
    return {
        "pareto": pareto(results),
        "volume": [round(float(volume), 6) for volume in results.volumes],
        "latency": latency(results.models),
        "history": [_finite(loss) for loss in results.history],
        "quality": quality.chart(results.quality),
        "models": names,
        "first": best(results.models)[0].model.id if best(results.models) else next(iter(names), None),
    }


def pareto(results: Results) -> dict[str, Any]:
    """Evaluated architectures as believed, the front as measured, and the bounds."""
    scales = [axis_scale(results, name) for name in results.axes]
    feasible = {trial.number for trial in results.feasible}
    return {
        "axes": [axis(results, shown) for shown in scales],
        "evaluated": points([trial for trial in results.evaluated if trial.number in feasible], scales),
        "excluded": points([trial for trial in results.evaluated if trial.number not in feasible], scales),
        "believed": staircase(results, scales),
        "step": "vh" if results.problem.objectives.get(results.axes[0]) == "maximize" else "hv",
        "front": [front_point(model, scales) for model in results.ordered],
    }


def axis_scale(results: Results, name: str) -> Scale:
    """The scale of a value over everything that has it."""
    return scale(name, [trial.values.get(name) for trial in results.evaluated])


def axis(results: Results, shown: Scale) -> dict[str, Any]:
    """An axis: title, bound, range, and whether it is logarithmic."""
    name = shown.name
    known = [value for value in (shown(trial.values.get(name)) for trial in results.evaluated) if value is not None]
    measured = [value for value in (shown(model.measured(name)) for model in results.models) if value is not None]
    bound = results.problem.constraints.get(name)
    values = [*known, *measured]
    end = top(known, measured) if name == "error" else None
    near = bound is not None and (shown(bound) or 0.0) <= (end or _NEAR * max(values, default=0.0))
    return {
        "name": name,
        "title": shown.title,
        "bound": shown(bound) if near else None,
        "bound_text": "" if bound is None else escape(f"bound {limit(name, bound)}"),
        "far": "" if bound is None or near else f"The bound of {limit(name, bound)} lies outside the chart.",
        "log": name != "error" and bool(values) and min(values) > 0 and max(values) > _LOGARITHMIC * min(values),
        "top": end,
    }


def top(known: Sequence[float], measured: Sequence[float]) -> float | None:
    """Where an axis ends so that a few bad outliers do not flatten the rest; None where it can show everything."""
    if not known:
        return None
    end = 1.1 * max([sorted(known)[math.floor(_QUANTILE * (len(known) - 1))], *measured])
    return end if max(known) > _OUTLYING * end else None


def points(trials: Iterable[Trial], scales: Sequence[Scale]) -> dict[str, list[Any]]:
    """Coordinates and hover text of trials as the search believed them."""
    trials = list(trials)
    x, y = ([shown(trial.values.get(shown.name)) for trial in trials] for shown in scales)
    return {
        "x": x,
        "y": y,
        "id": [trial.architecture_id for trial in trials],
        "text": [hint(t, scales) for t in trials],
    }


def hint(trial: Trial, scales: Sequence[Scale]) -> str:
    """The hover text of an evaluated architecture."""
    values = "<br>".join(f"{believed(s.name)} {quantity(s.name, trial.values.get(s.name))}" for s in scales)
    return f"<b>{escape(trial.architecture_id)}</b>, evaluation {trial.number + 1}<br>{values}"


def believed(name: str) -> str:
    """A value's name as the search knows it: its error is that on validation data."""
    return "validation error" if name == "error" else f"predicted {label(name)}"


def staircase(results: Results, scales: Sequence[Scale]) -> dict[str, list[float | None]]:
    """The front as the search believed it, along the horizontal axis; only where two objectives make a line."""
    if len(results.problem.objectives) != 2:
        return {"x": [], "y": []}
    line = sorted(tuple(shown(trial.values.get(shown.name)) or 0.0 for shown in scales) for trial in results.front)
    return {"x": [x for x, _ in line], "y": [y for _, y in line]}


def front_point(model: Model, scales: Sequence[Scale]) -> dict[str, Any]:
    """An exported architecture: measured values, and the spread of its latency."""
    lines = [
        f"<b>{escape(model.id)}</b>",
        f"test error {percent(model.measured('error'))}",
        f"measured latency {quantity('latency_ms', model.latency_ms)}",
        *(f"{label(s.name)} {quantity(s.name, model.measured(s.name))}" for s in scales if s.name not in _MEASURED),
    ]
    x, y = (coordinate(model, shown) for shown in scales)
    return {"id": model.id, "x": x, "y": y, "text": "<br>".join(lines)}


_MEASURED = ("error", "latency_ms")


def coordinate(model: Model, shown: Scale) -> dict[str, float | None]:
    """A measured value with how far its spread reaches up and down (0 where it has none), and as believed."""
    value = shown(model.measured(shown.name))
    low, high = (model.latency_ms_p10, model.latency_ms_p90) if shown.name == "latency_ms" else (None, None)
    return {
        "value": value,
        "up": max(0.0, (shown(high) or 0.0) - value) if value is not None and high is not None else 0.0,
        "down": max(0.0, value - (shown(low) or 0.0)) if value is not None and low is not None else 0.0,
        "believed": shown(model.believed.get(shown.name)),
    }


def latency(models: Sequence[Model]) -> dict[str, Any]:
    """Believed against measured latency of the exported models that have both."""
    both = [model for model in models if model.latency_error is not None]
    shown = scale("latency_ms", [])
    spread = [coordinate(model, shown) for model in both]
    return {
        "id": [model.id for model in both],
        "believed": [point["believed"] for point in spread],
        "measured": [point["value"] for point in spread],
        "up": [point["up"] for point in spread],
        "down": [point["down"] for point in spread],
        "text": [latency_hint(model) for model in both],
        "median_error": median_latency_error(models),
        "tolerance": TOLERANCE,
    }


def latency_hint(model: Model) -> str:
    """The hover text of a model's latencies."""
    off = signed(model.latency_error or 0.0)
    believed_ms = quantity("latency_ms", model.believed.get("latency_ms"))
    measured_ms = quantity("latency_ms", model.latency_ms)
    return f"<b>{escape(model.id)}</b><br>predicted {believed_ms}<br>measured {measured_ms}<br>off by {off}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
