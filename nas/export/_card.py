"""The model card: what a bundle holds, what was measured on it, and how to use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nas.export._role import Deployable, Format
from searchspaces.architecture import Placement
from searchspaces.cost import cost

_PREPARE = """import json
from pathlib import Path

import numpy as np

config = json.loads(Path("config.json").read_text(encoding="utf-8"))
pixels = np.zeros({shape}, np.{dtype})  # your images [batch, channels, height, width], as stored
mean, std = (np.array(config["input"][name], np.float32)[:, None, None] for name in ("mean", "std"))
x = (pixels.astype(np.float32) * np.float32(config["input"]["scale"]) - mean) / std"""


def card(model: Deployable, formats: Sequence[Format], config: dict[str, Any], measured: dict[str, Any]) -> str:
    """The card in Markdown; its numbers are those of `measurements.json` and no others."""
    sections = [
        _title(measured, config),
        _accuracy(formats, measured),
        _latency(measured),
        _belief(measured),
        _use(formats, config, model),
        _layers(model),
        _left_out(measured),
        _origin(config),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(measured: dict[str, Any], config: dict[str, Any]) -> str:
    """What it is, in three lines."""
    shape = " x ".join(map(str, config["input"]["shape"]))
    return (
        f"# Network {measured['id']}\n\n"
        f"An image classifier for {len(config['classes'])} classes, found by a search over architectures and hardware"
        f" cost. It takes images of {shape} (channels, height, width) and has {measured['parameters']:,} parameters and"
        f" {measured['macs']:,} multiply-accumulates an image."
    )


def _accuracy(formats: Sequence[Format], measured: dict[str, Any]) -> str:
    """Accuracy, size and difference of each file."""
    rows = [
        (f"`{item.file}`", item.title, f"{measured['bytes'][item.file]:,}", *_checked(item.file, measured))
        for item in formats
    ]
    deployed = measured["deployed"]
    as_deployed = f" As deployed (`{deployed}`): {percent(measured['accuracy_deployed'])}." if deployed else ""
    return (
        f"## Files and accuracy\n\nOn {measured['test_images']:,} test images that were used for nothing before."
        f" In float32: {percent(measured['accuracy_float32'])}.{as_deployed}\n\n"
        + table(("file", "what", "bytes", "test accuracy", "largest difference from the float32 network"), rows)
        + "\n\nEach file was run on the test images in a process of its own, without the program that found the"
        " network. Differences are of logits, absolute and relative to the largest one."
    )


def _checked(file: str, measured: dict[str, Any]) -> tuple[str, str]:
    """Accuracy and difference of a file, where it was run by itself."""
    if file not in measured["accuracy"]:
        return "", ""
    difference = measured["differences"][file]
    return percent(measured["accuracy"][file]), f"{difference['absolute']:.2g} ({difference['relative']:.2g})"


def _latency(measured: dict[str, Any]) -> str:
    """Latency on the backend, or why there is none."""
    backend, device = measured["backend"], measured["device"]
    if measured["latency_state"] != "ok":
        return f"## Latency\n\nNot measured: {measured['latency_state']}. {measured['latency_reason']}"
    place = (
        f"{backend['kind']}, {backend['threads']} {_plural('thread', backend['threads'])}, batch of"
        f" {backend['batch_size']}"
    )
    numbers = [f"{measured[name]:.4g}" for name in ("latency_ms", "latency_ms_p10", "latency_ms_p90")]
    if not measured["samples"]:
        return f"## Latency\n\n{numbers[0]} ms, computed by the model of hardware {place}: not measured."
    header = ("median ms", "p10 ms", "p90 ms", "noise", "samples")
    disturbed = f" Other load disturbed {measured['disturbed']:,} samples." if measured["disturbed"] else ""
    return (
        f"## Latency\n\n`{measured['deployed']}` on {place}; {device['cpu']}, {device['os']}.\n\n"
        + table(header, [(*numbers, percent(measured["noise"]), f"{measured['samples']:,}")])
        + f"\n\nNoise is the interquartile range over the median.{disturbed}{_integer(measured)}"
    )


def _integer(measured: dict[str, Any]) -> str:
    """Whether integers pay on this machine."""
    gain = measured["integer_gain"]
    if gain is None:
        return ""
    times = f"{gain['int8_ms']:.4g} ms against {gain['float32_ms']:.4g} ms, measured in turns"
    if gain["speedup"] > 1:
        return f"\n\nIn int8 the network is {gain['speedup']:.2f} times as fast as in float32: {times}."
    return f"\n\nOn this machine the int8 file is not faster than the same network in float32: {times}."


def _belief(measured: dict[str, Any]) -> str:
    """What the search expected."""
    if not measured["values"]:
        return ""
    accuracy, deployed = measured["accuracy_deployed"], measured["deployed"]
    found = {
        "error": None if accuracy is None else 1 - accuracy,
        "latency_ms": measured["latency_ms"],
        "model_bytes": measured["bytes"][deployed] if deployed else None,
        "parameters": measured["parameters"],
        "macs": measured["macs"],
    }
    rows = [(name, f"{value:.6g}", _number(found.get(name))) for name, value in measured["values"].items()]
    return (
        "## What the search believed\n\nErrors on validation images with shared weights, and costs from tables; beside"
        " them what the files showed, errors on test images.\n\n" + table(("value", "believed", "found"), rows)
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _use(formats: Sequence[Format], config: dict[str, Any], model: Deployable) -> str:
    """How to prepare images and run each file."""
    fixed = {name: size for name, size in config["batch_sizes"].items() if size != "any"}
    sizes = "Every file takes any batch size." if not fixed else _fixed(fixed)
    pixels = model.task.splits.test.pixels
    shape = (next(iter(fixed.values()), 1), *config["input"]["shape"])
    blocks = [_code(_PREPARE.format(shape=shape, dtype=pixels.dtype))]
    for item in formats:
        if item.run:
            blocks.append(f"### `{item.file}`\n\n{_code(f'{item.load}{chr(10)}{item.run}')}")
    return (
        "## Use\n\nRun this in the folder of these files. Inputs are float32 and standardized,"
        f' `{config["input"]["standardization"]}`; outputs are logits, one for each of `config["classes"]`. {sizes}'
        " Latency is stated for the batch size above.\n\n" + "\n\n".join(blocks)
    )


def _fixed(sizes: dict[str, int]) -> str:
    """Which files take one batch size only."""
    listed = ", ".join(f"`{name}` batches of {size}" for name, size in sizes.items())
    return f"An operator of this network fixes the batch: {listed}."


def _layers(model: Deployable) -> str:
    """One line a block."""
    rows = [
        (place.path, _described(place.part.describe()), *_spent(place), _described(place.part.quantization.describe()))
        for place in model.architecture.blocks()
    ]
    integers = (
        "\n\nInteger policies of any width are deployed in eight-bit arithmetic: weights lie on their policy's grid,"
        " activations on one of eight bits."
    )
    listed = table(("place", "block", "output", "parameters", "MACs", "quantization"), rows)
    return f"## Layers\n\n{listed}{integers if model.integer_blocks else ''}"


def _spent(place: Placement) -> tuple[str, str, str]:
    """Output shape, parameters and MACs of a block."""
    spent = cost(place.part, place.shape)
    return " x ".join(map(str, place.part.output_shape(place.shape))), f"{spent.parameters:,}", f"{spent.macs:,}"


def _described(data: dict[str, Any]) -> str:
    """A part in one line: `token_mixing(mixer=pooling(kernel=3))`."""
    fields = {name: value for name, value in data.items() if name not in ("kind", "quantization")}
    listed = (f"{name}={_described(value) if isinstance(value, dict) else value}" for name, value in fields.items())
    return f"{data['kind']}({', '.join(listed)})" if fields else str(data["kind"])


def _left_out(measured: dict[str, Any]) -> str:
    """Files that are not there, and why."""
    rows = [(f"`{name}`", why["state"], _cell(why["reason"])) for name, why in measured["left_out"].items()]
    return "## Left out\n\n" + table(("file", "state", "reason"), rows) if rows else ""


def _origin(config: dict[str, Any]) -> str:
    """Versions and integrity."""
    versions = ", ".join(f"{name} {value}" for name, value in config["versions"].items())
    return (
        f"## Origin\n\nWritten with {versions}. `config.json` holds the whole architecture, `measurements.json` every"
        " number of this card, `MANIFEST.json` the SHA-256 of each file."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    """A share of 1 in percent with two digits."""
    return f"{share:.2%}".replace("%", " %")


def _cell(text: str, limit: int = 300) -> str:
    """A text that fits one cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= limit else f"{line[:limit]} ..."


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
