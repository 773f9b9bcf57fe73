"""The summary on top of the page: what was searched, what was found, and what holds on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import quote

from nas.report.front import Model, median_latency_error
from nas.report.results import Results
from nas.report.wording import count, escape, label, limit, percent, quantity, words

CLOSE = 0.01
"""Loss of accuracy up to which a fast model still counts as close to the most accurate one."""


def headline(results: Results) -> str:
    """The task and its data, in a few words."""
    task = results.configuration["task"]
    data = task.get("data")
    data_kind = words(data["kind"]) if isinstance(data, dict) and "kind" in data else ""
    return escape(" · ".join(filter(None, [data_kind.capitalize(), words(task["kind"])])))


def lead(results: Results) -> str:
    """One paragraph in HTML: what was sought, and by which means."""
    parts = {name: words(results.configuration[name]["kind"]) for name in ("training", "strategy", "hardware")}
    return escape(
        f"Architectures that {aims(results)}{bounds(results)}. Strategy {parts['strategy']} chose what to evaluate "
        f"under weights that all architectures share (training {parts['training']}), and costs are those of "
        f"{parts['hardware']}{settings(results.configuration['hardware'])}."
    )


def aims(results: Results) -> str:
    """The objectives: `minimize error and latency`."""
    ways: dict[str, list[str]] = {}
    for name, way in results.problem.objectives.items():
        ways.setdefault(way, []).append(label(name))
    return ", and ".join(f"{way} {' and '.join(names)}" for way, names in ways.items())


def bounds(results: Results) -> str:
    """The constraints: ` with latency of at most 2 ms`; empty without any."""
    most = {name: results.problem.objectives.get(name) != "maximize" for name in results.problem.constraints}
    said = [
        f"{label(name)} of at {'most' if most[name] else 'least'} {limit(name, bound)}"
        for name, bound in results.problem.constraints.items()
    ]
    return f", with {' and '.join(said)}" if said else ""


def settings(hardware: dict[str, Any]) -> str:
    """Threads and batch size in words, where the backend has them."""
    threads, batch = hardware.get("threads"), hardware.get("batch_size")
    said = [f"{threads} thread{'s' * (threads != 1)}"] if threads else []
    said += [f"batch of {batch}"] if batch else []
    return f" ({', '.join(said)})" if said else ""


def figures(results: Results) -> list[tuple[str, str]]:
    """The numbers to see first: HTML value and caption."""
    found = [
        (count(results.space_size), "architectures in the space"),
        (f"{len(results.trials):,}", "evaluated"),
        (f"{len(results.front):,}", "on the Pareto front"),
        (f"{len(results.models):,}", "exported and measured"),
    ]
    failed = len(results.trials) - len(results.evaluated)
    return [*found, (f"{failed:,}", "failed")] if failed else found


@dataclass(frozen=True)
class Best:
    """A model that stands out."""

    why: str
    model: Model

    @property
    def card(self) -> str:
        """The model as an HTML link to its place on the page."""
        size = quantity("model_bytes", self.model.measured("model_bytes"))
        return (
            f'<a class="card" data-select="{escape(self.model.id)}" href="#{quote(self.model.id)}">'
            f"<span>{escape(self.why)}</span><strong>{percent(self.model.accuracy)}</strong>"
            f"<span>{quantity('latency_ms', self.model.latency_ms)} · {size}</span>"
            f"<code>{escape(self.model.id)}</code></a>"
        )


def best(models: Sequence[Model]) -> list[Best]:
    """The most accurate, the fastest that is close to it, and the fastest; equal ones once."""
    judged = [(model.accuracy, -model.latency_ms, model) for model in models if model.accuracy and model.latency_ms]
    if not judged:
        return []
    greatest = max(judged, key=lambda item: item[:2])
    close = max((item for item in judged if item[0] >= greatest[0] - CLOSE), key=lambda item: item[1])
    fastest = max(judged, key=lambda item: (item[1], item[0]))
    reasons = {"Most accurate": greatest[2], "Fastest within 1 point of it": close[2], "Fastest": fastest[2]}
    found: dict[str, Best] = {}
    for why, model in reasons.items():
        found.setdefault(model.id, Best(why, model))
    return list(found.values())


def integer_verdict(models: Sequence[Model], twins: Sequence[float] = ()) -> tuple[str, str]:
    """Whether int8 is faster than float32 on this machine for the models found: the verdict and its grounds.

    Args:
        models: the exported models.
        twins: speed of int8 over float32 for float32 models that were put into int8 only to compare.
    """
    found = [model.int8_speedup for model in models if model.int8_speedup is not None]
    compared = [*found, *twins]
    if not compared:
        return "int8 was not compared with float32.", "No exported model has both files measured on this backend."
    faster, total = sum(speed > 1 for speed in compared), len(compared)
    share = "" if faster in (0, total) else f" for {faster} of {total} models"
    verdict = f"int8 is {'faster' if faster else 'not faster'} than float32{share} on this machine."
    return verdict, " ".join([*_found_in_integers(found), *_put_into_integers(twins)])


def _found_in_integers(speeds: Sequence[float]) -> list[str]:
    """What int8 is worth to the models for which the search chose it."""
    if not speeds:
        return ["The search left all exported models in float32."]
    run, middle = ("models run", " in the median") if len(speeds) > 1 else ("model runs", "")
    return [
        f"{len(speeds)} int8 {run} at {median(speeds):.2f} times the speed of the same network in float32{middle}, "
        "both measured in turns."
    ]


def _put_into_integers(speeds: Sequence[float]) -> list[str]:
    """What int8 would be worth to models for which the search did not choose it."""
    if not speeds:
        return []
    times = " and ".join(f"{speed:.2f}" for speed in speeds)
    return [
        f"With every block in int8, the fastest and the slowest float32 model would run at {times} times their speed."
    ]


def latency_verdict(models: Sequence[Model]) -> tuple[str, str]:
    """How well the search knew the latency."""
    error = median_latency_error(models)
    if error is None:
        return "Latency was not measured.", "No exported model has both a predicted and a measured latency."
    kept = f"The predicted latency is off by {100 * error:.1f} % in the median."
    worst = max(abs(model.latency_error or 0.0) for model in models)
    return kept, f"Measured on the exported files of {len(models)} models; the worst is off by {100 * worst:.1f} %."
