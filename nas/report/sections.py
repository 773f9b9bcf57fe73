"""Parts of the page that are HTML: the models, the table of the front, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nas.report.drawing import Palette, draw, strip
from nas.report.front import Model
from nas.report.wording import MISSING, escape, percent, quantity, signed, significant, words

Rows = Iterable[tuple[str, str]]
_UNKNOWN: tuple[Any, ...] = ("", 0, (), [], {}, None)


def definitions(rows: Rows, style: str = "") -> str:
    """Pairs of text and HTML as a description list."""
    body = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="{style}">{body}</dl>'


def numbers(model: Model) -> Rows:
    """What is known of a model: HTML by name."""
    yield "Test accuracy", percent(model.accuracy)
    yield "in float32", percent(model.accuracy_float32)
    yield "Error in the search (validation)", percent(model.believed.get("error"))
    yield "Measured latency", escape(model.failure) or quantity("latency_ms", model.latency_ms)
    yield "p10 to p90", spread(model)
    yield "Noise of the latency", percent(model.noise)
    yield "Predicted latency", f"{quantity('latency_ms', model.believed.get('latency_ms'))}{off(model)}"
    if model.gain:
        yield "int8 / float32 in turns", in_turns(model.gain)
        yield "Speed of int8", times(model.int8_speedup)
    yield "Parameters", quantity("parameters", model.believed.get("parameters"))
    yield "Multiply-accumulates", quantity("macs", model.believed.get("macs"))
    yield "Predicted peak memory", quantity("peak_memory_bytes", model.believed.get("peak_memory_bytes"))


def in_turns(gain: Mapping[str, float]) -> str:
    """Both latencies of a comparison."""
    return f"{significant(gain['int8_ms'])} / {quantity('latency_ms', gain['float32_ms'])}"


def spread(model: Model) -> str:
    """Percentiles of the latency."""
    if model.latency_ms_p10 is None or model.latency_ms_p90 is None:
        return MISSING
    return f"{significant(model.latency_ms_p10)} – {quantity('latency_ms', model.latency_ms_p90)}"


def off(model: Model) -> str:
    """By how much the believed latency is off, in parentheses."""
    return "" if model.latency_error is None else f" ({signed(model.latency_error)})"


def times(speedup: float | None) -> str:
    """`1.42 × that of float32`."""
    return MISSING if speedup is None else f"{speedup:.2f} × that of float32"


def article(model: Model, palette: Palette) -> str:
    """One model: numbers and drawing; the page shows the selected one."""
    name = escape(model.id)
    sizes = [(file, quantity("model_bytes", size)) for file, size in model.sizes.items()]
    sizes += [(file, f"left out, {escape(why)}") for file, why in model.left_out.items()]
    files = f"<h4>Files</h4>{definitions(sizes, 'numbers')}" if sizes else ""
    return (
        f'<article class="model" id="model-{name}" data-model="{name}" aria-labelledby="heading-{name}">'
        f'<div class="numbers-of"><h3 id="heading-{name}">Architecture <code>{name}</code></h3>'
        f'<p class="quiet"><a href="exports/{quote(model.id)}/README.md">Model card</a> in '
        f"<code>exports/{name}/</code></p>{definitions(numbers(model), 'numbers')}{files}</div>"
        f'<figure class="drawing-of">{draw(model.architecture, palette, model.id)}{palette.legend()}</figure></article>'
    )


@dataclass(frozen=True)
class Column:
    """A column of the table: heading, what a cell shows, and the number it is sorted by."""

    heading: str
    show: Callable[[Model], str]
    key: Callable[[Model], float | None]

    def cell(self, model: Model) -> str:
        """The cell of a model."""
        key = self.key(model)
        return f'<td data-key="{"" if key is None else key}">{self.show(model)}</td>'


def believed(name: str) -> tuple[Callable[[Model], str], Callable[[Model], float | None]]:
    """What shows and what sorts a believed value."""
    return lambda model: quantity(name, model.believed.get(name)), lambda model: model.believed.get(name)


def columns(models: Sequence[Model]) -> list[Column]:
    """The columns of the table; those of int8 only where there is a model in int8."""
    found = [
        Column("Test accuracy", lambda model: percent(model.accuracy), lambda model: model.accuracy),
        Column("Latency, ms", lambda model: milliseconds(model.latency_ms), lambda model: model.latency_ms),
        Column("p10 – p90", lambda model: spread(model).removesuffix("\u00a0ms"), lambda model: model.latency_ms_p90),
        Column(
            "Predicted", lambda m: milliseconds(m.believed.get("latency_ms")), lambda m: m.believed.get("latency_ms")
        ),
        Column("Parameters", *believed("parameters")),
        Column("MACs", *believed("macs")),
        Column("Size", size, lambda model: model.measured("model_bytes")),
    ]
    if any(model.gain for model in models):
        found.insert(1, Column("float32 accuracy", lambda m: percent(m.accuracy_float32), lambda m: m.accuracy_float32))
        found.append(Column("int8 speed", speed, lambda model: model.int8_speedup))
    return found


def milliseconds(value: float | None) -> str:
    """A latency without its unit, for the table."""
    return MISSING if value is None else significant(value)


def size(model: Model) -> str:
    """The size of the deployed file, for the table."""
    return quantity("model_bytes", model.measured("model_bytes"))


def speed(model: Model) -> str:
    """The speed of int8 against float32, for the table."""
    return MISSING if model.int8_speedup is None else f"{model.int8_speedup:.2f} ×"


def table(models: Sequence[Model], palette: Palette) -> str:
    """The front as a sortable table, fastest first."""
    found = columns(models)
    plain = '<th scope="col">Model</th><th scope="col">Blocks</th>'
    heads = "".join(f'<th scope="col"><button type="button">{escape(c.heading)}</button></th>' for c in found)
    ordered = sorted(models, key=lambda model: model.latency_ms or 0.0)
    rows = "".join(row(model, found, palette) for model in ordered)
    caption = '<caption class="hidden">The front, as exported and measured; the headings sort it</caption>'
    return f'<table id="front">{caption}<thead><tr>{plain}{heads}</tr></thead><tbody>{rows}</tbody></table>'


def row(model: Model, found: Sequence[Column], palette: Palette) -> str:
    """One model."""
    name = escape(model.id)
    link = f'<a data-select="{name}" href="#{quote(model.id)}"><code>{name}</code></a>'
    cells = "".join(column.cell(model) for column in found)
    drawing = f'<td class="strip-of">{strip(model.architecture, palette)}</td>'
    return f'<tr data-model="{name}"><th scope="row">{link}</th>{drawing}{cells}</tr>'


def options(models: Sequence[Model]) -> str:
    """The models as options of a list to choose from, in the order of the front."""
    return "".join(
        f'<option value="{escape(model.id)}">{escape(model.id)} · {percent(model.accuracy)} · '
        f"{quantity('latency_ms', model.latency_ms)}</option>"
        for model in models
    )


def device(facts: Mapping[str, Any]) -> str:
    """The machine that measured; unknown facts are left out."""
    rows = [(NAMES.get(name, words(name)), fact(name, value)) for name, value in facts.items() if value not in _UNKNOWN]
    return definitions(rows, "facts") if rows else '<p class="quiet">Nothing has been measured yet.</p>'


NAMES = {"cpu": "CPU", "os": "system", "gpus": "GPUs", "memory_bytes": "memory"}


def fact(name: str, value: Any) -> str:
    """One fact in HTML."""
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(key)}&nbsp;{escape(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    return escape(quantity(name, value) if name.endswith("_bytes") else value)
