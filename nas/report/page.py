"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from string import Template

from nas.files import write_atomic
from nas.report import quality, sections, summary
from nas.report.assets import asset
from nas.report.charts import TOLERANCE, charts
from nas.report.drawing import Palette
from nas.report.front import median_latency_error
from nas.report.results import ENLARGED, Results, read_results
from nas.report.tables import write_tables
from nas.report.wording import embedded, escape, label


def write_report(folder: Path) -> Path:
    """Writes `report.html` (and the tables beside it) from what a run's folder holds; returns its path.

    Raises:
        ConfigurationError: `resolved.yaml` is missing or not a configuration.
        ArchiveError: there is no archive, it cannot be read, or nothing is evaluated yet.
        OSError: the folder cannot be written.
    """
    results = read_results(folder)
    path = folder / "report.html"
    write_atomic(path, page(results, folder.resolve().name))
    write_tables(folder)
    return path


def page(results: Results, run: str) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    return Template(asset("page.html")).substitute(
        title=escape(f"{run} · architecture search"),
        run=escape(run),
        style=asset("style.css"),
        plotly=get_plotlyjs(),
        script=asset("page.js"),
        data=embedded(charts(results)),
        quality=quality.figure(results.quality),
        **top(results),
        **captions(results),
        **models(results),
        **background(results),
    )


def top(results: Results) -> dict[str, str]:
    """The summary."""
    figures = "".join(f"<div><dd>{value}</dd><dt>{escape(name)}</dt></div>" for value, name in summary.figures(results))
    verdicts = [summary.integer_verdict(results.models, results.twins), summary.latency_verdict(results.models)]
    return {
        "headline": summary.headline(results),
        "lead": summary.lead(results),
        "figures": figures,
        "best": "".join(best.card for best in summary.best(results.models)),
        "verdicts": "".join(f"<p><strong>{escape(a)}</strong> {escape(b)}</p>" for a, b in verdicts),
    }


def captions(results: Results) -> dict[str, str]:
    """What stands beneath the charts."""
    x, y = (label(name) for name in results.axes)
    error = median_latency_error(results.models)
    names = " and ".join(map(label, results.problem.objectives))
    found = {
        "pareto_caption": "Faint dots are the evaluated architectures as the search saw them: error on validation data "
        "under shared weights, predicted costs; open ones are out of bounds. The stepped line is the front among them. "
        f"Large dots are the exported files: {y} and {x} as measured, whiskers from p10 to p90 of the latency.",
        "volume_caption": "What the front dominates, as a share of the box from the best value of each objective "
        f"({names}) to the reference, the worst value within the bounds plus {100 * ENLARGED:.0f} % of the range.",
        "latency_caption": "Nothing has been measured yet."
        if error is None
        else f"On the line they are equal, the band is ±{100 * TOLERANCE:.0f} %. "
        f"The median relative error is {100 * error:.1f} %.",
        "history_caption": "Mean loss in each epoch of the shared training, of the first network that each step trains."
        if results.history
        else "The run holds no training history.",
    }
    return {name: escape(text) for name, text in found.items()}


def models(results: Results) -> dict[str, str]:
    """The exported models."""
    palette = Palette.of(model.architecture for model in results.models)
    if not results.models:
        nothing = '<p class="quiet">Nothing is exported yet: the run has not come to its last phase.</p>'
        return {"options": "", "articles": nothing, "table": nothing}
    return {
        "options": sections.options(results.ordered),
        "articles": "".join(sections.article(model, palette) for model in results.ordered),
        "table": sections.table(results.models, palette),
    }


def background(results: Results) -> dict[str, str]:
    """Device, versions and configuration."""
    facts = next((model.device for model in results.models if model.device), {})
    rows = [*((name, escape(version)) for name, version in results.versions.items())]
    return {
        "device": sections.device(facts),
        "versions": sections.definitions(rows, "facts"),
        "configuration": escape(results.text),
    }
