"""Plain PyTorch source."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

from nas.data._images import Splits
from nas.export._construction import construction, literal
from nas.export._role import Deployable, Format
from nas.export._source import Definitions, Import
from nas.files import write_atomic

_OWN_NAMES = {"INPUT_SHAPE", "SCALE", "MEAN", "STD", "CLASSES", "WEIGHTS", "build", "load", "standardize", "load_file"}
_OWN_IMPORTS: set[Import] = {
    ("pathlib", "Path", "Path"),
    ("torch", "", "torch"),
    ("torch", "Tensor", "Tensor"),
    ("torch", "nn", "nn"),
    ("safetensors.torch", "load_file", "load_file"),
}

_TEMPLATE = '''"""Network {id}: plain PyTorch, and the weights in model.safetensors beside it.

Input: float32 [batch, {shape}], as `standardize` makes it of stored pixels.
Output: logits [batch, {outputs}], one for each of `CLASSES`.

    network = load()
    logits = network(standardize(pixels))
"""

from __future__ import annotations

{imports}

{constants}
WEIGHTS = Path(__file__).with_name("model.safetensors")


{definitions}


def standardize(pixels: Tensor) -> Tensor:
    """Network inputs of stored pixels [batch, {shape}]: (pixel * SCALE - MEAN) / STD, per channel."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    return (pixels.float() * SCALE - mean) / std


def build() -> nn.Sequential:
    """The network, freshly initialized."""
    return {network}(
{blocks}
    )


def load(path: str | Path = WEIGHTS) -> nn.Sequential:
    """The trained network, in evaluation mode."""
    network = build()
    network.load_state_dict(load_file(path))
    return network.eval()
'''


class PythonSource(Format):
    """The network as one readable module that imports torch and safetensors alone."""

    file: ClassVar[str] = "model.py"
    title: ClassVar[str] = "plain PyTorch source in float32, with the weights of `model.safetensors`"
    load: ClassVar[str] = "import torch\n\nimport model\n\nnetwork = model.load()"
    run: ClassVar[str] = "with torch.inference_mode():\n    logits = network(torch.from_numpy(x)).numpy()"

    def write(self, model: Deployable, folder: Path) -> list[Path]:
        """Writes the source."""
        path = folder / self.file
        write_atomic(path, source(model))
        return [path]


def source(model: Deployable) -> str:
    """Source of the network.

    Raises:
        MeasurementError: a module's source is not at hand, or needs more than torch.
    """
    definitions = Definitions(_OWN_NAMES | {name for *_, name in _OWN_IMPORTS})
    network, chain = construction(model.architecture, definitions.add)
    shape = ", ".join(map(str, model.architecture.input_shape))
    return _TEMPLATE.format(
        id=model.architecture.id,
        shape=shape,
        outputs=model.task.outputs,
        imports=_imports(definitions.imports | _OWN_IMPORTS),
        constants=_constants(model.architecture.input_shape, model.task.splits),
        network=network,
        definitions="\n\n\n".join(text.strip() for text in definitions.texts) or "# All modules are torch's own.",
        blocks="\n".join(f"        {block}," for block in chain),
    )


def _constants(shape: tuple[int, ...], splits: Splits) -> str:
    """The input contract and the classes."""
    standard = splits.standardization
    values: dict[str, Any] = {
        "INPUT_SHAPE": shape,
        "SCALE": standard.scale,
        "MEAN": standard.mean,
        "STD": standard.std,
        "CLASSES": splits.class_names,
    }
    return "\n".join(f"{name} = {literal(value, reserve=len(name) + 3)}" for name, value in values.items())


def _imports(wanted: set[Import]) -> str:
    """Import statements, the standard library's first; names of one module together."""
    members: dict[str, list[str]] = defaultdict(list)
    for module, name, given in sorted(wanted):
        members[module].append(name if name == given else f"{name} as {given}" if name else f" as {given}")
    groups: tuple[list[str], list[str]] = ([], [])
    for module, names in members.items():
        group = groups[module.partition(".")[0] in ("torch", "safetensors")]
        group += _statements(module, names)
    ordered = (sorted(group, key=lambda line: (line.startswith("from"), line)) for group in groups)
    return "\n\n".join("\n".join(group) for group in ordered if group)


def _statements(module: str, names: list[str]) -> list[str]:
    """`import module`, `import module as name` and `from module import names`."""
    whole = [name for name in names if name.startswith(" as ")]
    lines = [f"import {module}" if name == f" as {module}" else f"import {module}{name}" for name in whole]
    rest = [name for name in names if name not in whole]
    return [*lines, f"from {module} import {', '.join(rest)}"] if rest else lines
