from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nas.yaml_source import YamlError, load, override, read

TEXT = """\
task:
  kind: classification
  data: {kind: digits, seed: 3}
stages:
  - depth: 2
    width: [16, 24]
  - depth: &deep
      choice: [1, 2]
    again: *deep
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("-.5e+2", -50.0), ("+1.5E3", 1500.0), ("1_000", 1000),
        ("-1_234_567", -1234567), ("012", 12), ("0x1F", 31), ("0o17", 15), ("-7", -7), (".inf", math.inf),
        ("-.Inf", -math.inf), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("off", "off"), ("1_0", "1_0"), ("1e", "1e"), (".", "."),
        ("1.2.3", "1.2.3"), ("12:30", "12:30"), ("2026-11-20", "2026-11-20"), ("0b11", "0b11"), ("tRUE", "tRUE"),
        ("'1'", "1"), ('"true"', "true"), ("=", "="), ('"\\u00b5"', "µ"), ("[]", []), ("{}", {}), ("|\n    1\n", "1\n"),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    read_value = load(f"a: {text}", "f").data["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(load("a: .nan", "f").data["a"])


def test_keys_are_strings_as_written() -> None:
    assert load("1: a\nno: b\nnull: c\n'<<': d", "f").data == {"1": "a", "no": "b", "null": "c", "<<": "d"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)), (("task",), (1, 1)), (("task", "kind"), (2, 3)), (("task", "data", "seed"), (3, 24)),
        (("stages", 0), (5, 5)), (("stages", 0, "width", 1), (6, 17)), (("stages", 1, "again"), (9, 5)),
        (("stages", 1, "again", "choice", 0), (8, 16)), (("task", "missing", "deeper"), (1, 1)),
        (("stages", 7), (4, 1)), (("nothing",), (1, 1)),
    ],
)  # fmt: skip
def test_positions_are_of_the_nearest_existing_part(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    source = load(TEXT, "file.yaml")
    assert source.position(path) == place
    assert source.where(path) == f"file.yaml:{place[0]}"


def test_uses_of_an_alias_are_equal_but_not_the_same() -> None:
    stage = load(TEXT, "f").data["stages"][1]
    assert stage["depth"] == stage["again"] == {"choice": [1, 2]}
    assert stage["depth"] is not stage["again"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 80))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is given twice, on lines 1 and 3"),
        ("x:\n  a: 1\n  'a': 3", 3, "given twice, on lines 2 and 3"),
        (BOMB, 5, "more than 100,000 values once the aliases are expanded"),
        (CHAIN, 64, "nested more than 64 levels deep"),
        ("a: 1\nb: " + "[" * 5000, 2, "nested more than 64 levels deep"),
        ("a:\n  &x [1, *x]", 2, "an alias stands inside of what it refers to"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", 2, "tags such as"),
        ("a: !custom 1", 1, "tags such as '!custom' are refused"),
        ("a: ! 12", 1, "tags such as"),
        ("!!map\na: 1", 1, "tags such as"),
        ("a: 1\n---\nb: 2", 2, "there must be one document only"),
        ("- a\n- b", 1, "the top level must be a mapping (`key: value` lines), not a sequence"),
        ("\njust words", 2, "not a scalar"),
        ("", 1, "not nothing"),
        ("# only a comment\n", 1, "not nothing"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "while parsing a flow sequence that begins on line 2: expected ',' or ']'"),
        ("a: 1\n\tb: 2", 2, "tabs cannot indent YAML"),
        ("a: 'x", 1, "found unexpected end of stream"),
        ("a: 1\nb: *nowhere", 2, "found undefined alias"),
        ("a: &x 1\nb: &x 2", 2, "duplicate anchor"),
        ("b: 1\na: {<<: {x: 1}}", 2, "merge keys (<<) are not part of YAML 1.2"),
        ("a: 1\n? [x]\n: 2", 2, "a key must be a plain word, not a sequence"),
        ("a: 1\nb: 1e999", 2, "the number 1e999 is too large"),
        ("a: 1\nb: " + "9" * 5000, 2, "4300"),
        ("a: 1\nb: \"\\uD800\"", 2, "surrogates not allowed"),
        ('a: 1\nb: "\\UFFFFFFFF"', 2, "a number here is out of range"),
        ("a: 1\nb: \x07", 2, "the character '\\x07' is not allowed"),
        ("a: b: c", 1, "mapping values are not allowed here"),
        ("%YAML 3.0\n---\na: 1", 1, "incompatible YAML document"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text, "file.yaml")
    assert message in caught.value.message
    assert caught.value.line == line
    assert str(caught.value) == f"file.yaml:{line}: {caught.value.message}"
    assert "\n" not in str(caught.value)


PIECES = st.sampled_from(
    [*"abc:-[]{},&*!|>'\"%@`#?<~.\n \t\\", "a: ", "- ", "\n  ", "&a ", "*a", "---\n", "\\U", "1e9"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join)))
@example("a: 0o")
@example('"\\U00110000": 1')
def test_any_text_is_read_or_refused_as_yaml(text: str) -> None:
    try:
        source = load(text, "f")
    except YamlError as error:
        assert error.file == "f"
    else:
        assert isinstance(source.data, dict)


def test_an_override_replaces_and_names_itself() -> None:
    source = load(TEXT, "f")
    changed = override(source, "stages.0.width.1=32")
    assert changed.data["stages"][0]["width"] == [16, 32]
    assert source.data["stages"][0]["width"] == [16, 24]
    assert changed.where(("stages", 0, "width", 1)) == "--set stages.0.width.1"
    assert changed.where(("stages", 0, "width", 0)) == "f:6"


def test_an_override_may_be_any_value_and_make_sections() -> None:
    source = override(load("a: 1\nempty:\n", "f"), "training.rate={choice: [1e-3, no]}")
    source = override(source, "empty.x=")
    assert source.data == {"a": 1, "training": {"rate": {"choice": [0.001, "no"]}}, "empty": {"x": None}}
    assert source.where(("training", "rate", "choice", 0)) == "--set training.rate"


def test_a_later_override_wins_over_an_earlier_one() -> None:
    source = override(load("a: {b: 1}", "f"), "a.b=3")
    source = override(source, "a={c: 4}")
    assert source.data == {"a": {"c": 4}}
    assert source.where(("a", "b")) == "--set a"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stages.2.depth=1", "--set stages.2.depth: stages has no item '2': it is a list of 2, counted from 0"),
        ("stages.x=1", "--set stages.x: stages has no item 'x': it is a list of 2, counted from 0"),
        ("stages.-1=1", "--set stages.-1: stages has no item '-1': it is a list of 2, counted from 0"),
        ("task.kind.x=1", "--set task.kind.x: task.kind is 'classification', it holds no 'x'"),
        ("task", "--set task: must have the form a.b.c=value"),
        ("a..b=1", "--set a..b=1: must have the form a.b.c=value"),
        ("=1", "--set =1: must have the form a.b.c=value"),
        ("task.x=[1", "--set task.x: while parsing a flow sequence: expected ',' or ']', but got '<stream end>'"),
        ("task.x={a: 1, a: 2}", "--set task.x: the key 'a' is given twice, on lines 1 and 1"),
        ("task.x=!!int 3", "--set task.x: tags such as 'tag:yaml.org,2002:int' are refused; quote a value"
         " to make it a string"),
    ],
)  # fmt: skip
def test_an_override_that_leads_nowhere_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        override(load(TEXT, "f"), assignment)
    assert str(caught.value) == message


def test_files_are_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: \xc2\xb5\n")
    assert read(tmp_path / "f.yaml").data == {"a": "µ"}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match=r"none\.yaml: cannot read the file: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "f.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(YamlError, match=r"f\.yaml: the file is not UTF-8 text .* at byte 3"):
        read(tmp_path / "f.yaml")
