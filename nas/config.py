"""The configuration of a run: YAML -> parts, the only place where they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field

from hardware.backends._role import Backend, require
from nas import yaml_source
from nas.executors._role import Executor
from nas.executors.local import Local
from nas.pretrained import Pretrained
from nas.strategies._role import Strategy
from nas.tasks._role import Task
from nas.training._role import Training
from nas.training.sandwich import Sandwich
from predictors._role import Predictor
from predictors.additive_residual import AdditiveResidual
from searchspaces.choice import describe_open
from searchspaces.faults import DescriptionError, Fault
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import Open, parse
from searchspaces.part import Part
from searchspaces.space import SearchSpace

P = TypeVar("P", bound=Part)
Value = Literal["error", "latency_ms", "energy_mj", "peak_memory_bytes", "model_bytes", "parameters", "macs"]
VALUES: tuple[str, ...] = get_args(Value)


class Tuning(Part):
    """Training of finalists from scratch by Ray Tune, with ASHA over learning rates and schedules."""

    trials: Annotated[int, Field(ge=1)] = 16
    """Trainings of each finalist with settings drawn at random, most of which are stopped early."""
    epochs: Annotated[int, Field(ge=1)] = 50
    learning_rates: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (3e-4, 3e-2)
    """The lowest and the highest."""
    weight_decays: tuple[Annotated[float, Field(ge=0)], ...] = (0.0, 0.02, 0.1)
    warmups: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.0, 0.05, 0.2)
    """Shares of the steps during which the learning rate rises."""
    grace: Annotated[int, Field(ge=1)] = 1
    """Epochs before a training may be stopped."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on."""

    def check(self) -> None:
        """Finds out whether Ray Tune is installed.

        Raises:
            UnavailableError: with the mend.
        """
        require("finalize.tune", ("ray", "pyarrow"), "ray")


class Finalize(Part):
    """What happens to the front before it is exported."""

    models: Annotated[int, Field(ge=1)] = 8
    """At most so many architectures of the front are exported: the best in each objective, the others far apart."""
    epochs: Annotated[int, Field(ge=0)] = 0
    """Fine-tuning of each of them alone, with quantization where its policy asks for it."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    tune: Tuning | None = None
    """Training of each of them from scratch; without it they start from their shares of the shared weights."""


class Profiling(Part):
    """What is measured of the hardware before a search, and during it."""

    minutes: Annotated[float, Field(gt=0)] | None = None
    """Longest time: half of it for blocks, the most informative first, the rest for networks. No bound if not given."""
    networks: Annotated[int, Field(ge=0)] = 40
    """Random networks that are measured whole, from which the predictor learns what the sum of their blocks misses."""
    verified: Annotated[int, Field(ge=0)] = 8
    """Candidates on the believed front or near a bound that are measured after every `every` evaluations, at most."""
    every: Annotated[int, Field(ge=1)] = 50
    """Evaluations after which candidates are measured and the predictor is fitted anew."""
    sources: tuple[str, ...] = ()
    """Files that `nas profile --save` wrote for this space on other devices, for `predictor: {kind: transfer}`."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Probability of the predictor's intervals, whose upper ends bounds are held against."""


class Quality(Part):
    """How well shared weights rank architectures, told by training some of them alone."""

    architectures: Annotated[int, Field(ge=0)] = 0
    """How many, drawn at random; none if 0. From 20 on the rank correlation says something."""
    epochs: Annotated[int, Field(ge=0)] | None = None
    """For how long each is trained alone; as long as the shared weights if not given."""


class Experiment(Part):
    """One run: what to learn, which networks, on what hardware, to what end and how."""

    task: Task
    space: Annotated[Network, Open()]
    hardware: Backend
    profile: Profiling = Profiling()
    predictor: Predictor = AdditiveResidual()
    objectives: dict[Value, Literal["minimize", "maximize"]] = {"error": "minimize", "latency_ms": "minimize"}
    constraints: dict[Value, float] = {}
    pretrained: Pretrained | None = None
    training: Training = Sandwich(epochs=0)
    """How the shared weights are trained; pretrained ones need no training."""
    quality: Quality = Quality()
    strategy: Strategy
    finalize: Finalize = Finalize()
    executor: Executor = Local()
    seed: Annotated[int, Field(ge=0)] = 0

    def resolved(self) -> dict[str, Any]:
        """The whole configuration, defaults included, as plain data."""
        data = describe_open(self)
        return {name: data[name] for name in type(self).model_fields}


class ConfigurationError(Exception):
    """A configuration that cannot be used: one line for each fault, with file and line."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(lines))


def read(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with `a.b=value` overrides applied.

    Raises:
        ConfigurationError: with every fault and its place.
    """
    return experiment(read_source(path, overrides))


def read_source(path: Path, overrides: Sequence[str] = ()) -> yaml_source.Source:
    """The data of a YAML file with overrides applied.

    Raises:
        ConfigurationError: it is no YAML, or an override is none.
    """
    try:
        source = yaml_source.read(path)
        for assignment in overrides:
            source = yaml_source.override(source, assignment)
    except yaml_source.YamlError as error:
        raise ConfigurationError([str(error)]) from error
    return source


def read_run(folder: Path) -> tuple[Experiment, yaml_source.Source]:
    """The experiment of a run, and the data of its `resolved.yaml`.

    Raises:
        ConfigurationError: the folder holds no run, or one that cannot be read.
    """
    try:
        source = yaml_source.read(folder / "resolved.yaml")
    except yaml_source.YamlError as error:
        raise ConfigurationError([f"{error}; is {folder} the folder of a run?"]) from error
    data = {key: value for key, value in source.data.items() if key != "versions"}
    return experiment(replace(source, data=data)), source


def described(source: yaml_source.Source, part: type[P]) -> P:
    """The part that loaded data describes.

    Raises:
        ConfigurationError: with every fault and its place.
    """
    try:
        return parse(part, source.data)
    except DescriptionError as error:
        raise ConfigurationError([f"{source.where(fault.path)}: {fault}" for fault in error.faults]) from error


def experiment(source: yaml_source.Source) -> Experiment:
    """The experiment that loaded data describes.

    Raises:
        ConfigurationError: with every fault and its place.
    """
    found = described(source, Experiment)
    faults = []
    if not found.objectives:
        faults.append(Fault(("objectives",), "name at least one, for example {error: minimize, latency_ms: minimize}"))
    if "training" not in source.data and found.pretrained is None:
        faults.append(Fault(("training",), "is missing; weights that are not pretrained have to be trained"))
    if faults:
        raise ConfigurationError([f"{source.where(fault.path)}: {fault}" for fault in faults])
    try:
        SearchSpace.of(found.space, Signature((1, 1, 1), 1)).decisions  # noqa: B018
    except ValueError as error:
        raise ConfigurationError([f"{source.where(('space',))}: space: {error}"]) from error
    return found
