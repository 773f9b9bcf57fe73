"""Descriptions: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Annotated, Any

import pytest
from pydantic import Field
from torch import nn

from searchspaces.blocks._role import Block
from searchspaces.choice import Choice
from searchspaces.faults import DescriptionError
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers.depthwise import Depthwise
from searchspaces.networks._role import Network
from searchspaces.parse import parse
from searchspaces.part import Shape
from searchspaces.registry import UnknownKindError, kinds, resolve
from tests.searchspaces.spaces import FAMILIES, choice


def faults(expected: Any, data: Any, open: bool = False) -> list[str]:
    with pytest.raises(DescriptionError) as error:
        parse(expected, data, open=open)
    return [str(fault) for fault in error.value.faults]


def test_a_decided_part_is_read() -> None:
    assert parse(TokenMixer, {"kind": "depthwise", "kernel": 5, "dilation": [1, 2]}) == Depthwise(
        kernel=5, dilation=(1, 2)
    )


def test_a_choice_stands_where_a_value_would() -> None:
    part = parse(TokenMixer, {"kind": "depthwise", "kernel": choice(3, 5)}, at=("m",), open=True)
    assert part.kernel == Choice("m.kernel", (3, 5)) and part.dilation == 1


class Nested(TokenMixer):
    """Fields whose tuples stand behind `Annotated` and among alternatives."""

    pairs: Annotated[int | Annotated[tuple[int, int], Field()], Field()] | None = 1
    several: int | Annotated[tuple[Annotated[int | tuple[int, int], Field()], ...], Field(min_length=1)] = 1
    lengths: tuple[int, int] | tuple[int, int, int] = (1, 1)

    def build(self, shape: Shape) -> nn.Module:
        return nn.Identity()


@pytest.mark.parametrize(
    ("field", "data", "value"),
    [
        ("pairs", [1, 2], (1, 2)),
        ("pairs", None, None),
        ("several", [1, [2, 3]], (1, (2, 3))),
        ("lengths", [1, 2, 3], (1, 2, 3)),
        ("several", [choice(1, 2), [2, 3]], (Choice("several.0", (1, 2)), (2, 3))),
    ],
)
def test_lists_are_read_wherever_a_tuple_stands(field: str, data: Any, value: Any) -> None:
    assert getattr(parse(Nested, {field: data}, open=True), field) == value


def test_a_list_of_the_wrong_length_is_refused() -> None:
    assert faults(Nested, {"lengths": [1]})[0].startswith("lengths: ")
    assert faults(Nested, {"several": []})[0].startswith("several: ")


def test_a_choice_of_one_is_decided() -> None:
    assert parse(TokenMixer, {"kind": "depthwise", "kernel": choice(5)}, open=True) == Depthwise(kernel=5)


def test_choices_stand_inside_sequences_and_options() -> None:
    data = choice({"kind": "depthwise", "dilation": [choice(1, 2), 1]}, {"kind": "pooling"})
    part = parse(Block, {"kind": "token_mixing", "mixer": data}, open=True)
    inner = part.mixer.options[0].dilation[0]
    assert inner == Choice("mixer.0.dilation.0", (1, 2))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"kind": "depthwse"}, "kind: no TokenMixer is called 'depthwse' (did you mean 'depthwise'?)"),
        ({"kind": "depthwise", "kernl": 3}, "kernl: unknown key (did you mean 'kernel'?)"),
        ({"kind": "depthwise", "kernel": "three"}, "kernel: "),
        ({"kind": "depthwise", "kernel": "3"}, "kernel: "),
        ({"kind": "depthwise", "kernel": 4}, "kernel: "),
        ({}, "(top level): `kind` is missing: which TokenMixer?"),
        ({"kind": 3}, "kind: kind must be a name, not 3"),
        ("depthwise", "(top level): expected a mapping that describes a TokenMixer, not 'depthwise'"),
        ({"kind": "no.such.module:Mixer"}, "kind: cannot import 'no.such.module:Mixer'"),
        ({"kind": "json:JSONDecoder"}, "kind: 'json:JSONDecoder' is not a TokenMixer"),
        ({"kind": "depthwise", "kernel": choice(3, 5)}, "kernel: nothing can be left to choose here"),
    ],
)
def test_refusals_name_the_place_and_the_mend(data: Any, told: str) -> None:
    (fault,) = faults(TokenMixer, data)
    assert fault.startswith(told)


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (choice(), "kernel.choice: a choice needs a list of at least one option"),
        ({"choice": 3}, "kernel.choice: a choice needs a list of at least one option"),
        (choice(3, 3), "kernel.choice: options 1 and 2 have an architecture in common"),
        (choice(3, choice(5, 3)), "kernel.choice: options 1 and 2 have an architecture in common"),
        ({"choice": [3], "default": 3}, "kernel: a choice has no other keys: default"),
        (choice(3, 4), "kernel.1: "),
    ],
)
def test_bad_choices_are_refused(kernel: Any, told: str) -> None:
    (fault,) = faults(TokenMixer, {"kind": "depthwise", "kernel": kernel}, open=True)
    assert fault.startswith(told)


def test_all_faults_are_told_at_once() -> None:
    data = {"kind": "metaformer", "stem": {"wdth": 3}, "stages": [{"depth": "x", "block": {"mixer": {"kind": "pool"}}}]}
    told = [fault.partition(":")[0] for fault in faults(Network, data, open=True)]
    assert told == [
        "stem.wdth",
        "stem.width",
        "stages.0.depth",
        "stages.0.block.mixer.kind",
        "stages.0.block.channel_mixer",
    ]


def test_rules_across_fields_are_told() -> None:
    data = {"kind": "tests.searchspaces.parts:Even", "a": 1, "b": 2}
    assert faults(Block, data) == ["(top level): a + b must be even"]
    data = {"kind": "tests.searchspaces.parts:Even", "a": choice(1, 3), "b": 2}
    assert faults(Block, data, open=True) == [
        "(top level): no combination of these choices is valid: a + b must be even"
    ]


@pytest.mark.parametrize("kind", kinds(TokenMixer))
def test_every_part_survives_its_description(kind: str) -> None:
    part = resolve(TokenMixer, kind)()
    assert parse(TokenMixer, json.loads(json.dumps(part.describe()))) == part


def test_a_name_that_imports_nothing_is_not_imported() -> None:
    with pytest.raises(UnknownKindError):
        resolve(TokenMixer, "_role")


READ = """
import json, sys
from searchspaces.deferred import descriptions_only
with descriptions_only():
    from searchspaces.networks._role import Network
    from searchspaces.choice import describe_open
    from searchspaces.parse import parse
    print(json.dumps([describe_open(parse(Network, data, open=True)) for data in json.load(sys.stdin)]))
assert "torch" not in sys.modules and not any(name.startswith("searchspaces.mixers") for name in sys.modules)
import torch
from searchspaces.mixers.depthwise import Depthwise
assert Depthwise().build((4, 5, 5))(torch.ones(1, 4, 5, 5)).shape == (1, 4, 5, 5)
"""


def test_descriptions_are_the_same_without_the_heavy_libraries() -> None:
    from searchspaces.choice import describe_open

    texts = list(FAMILIES.values())
    done = subprocess.run(
        [sys.executable, "-c", READ], input=json.dumps(texts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [describe_open(parse(Network, data, open=True)) for data in texts]
