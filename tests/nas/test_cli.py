"""The commands as a user meets them: what they print where, their exit codes, and every wrong input."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from nas import cli
from nas.failures import CODES, exit_code
from searchspaces.gates._role import Gate
from searchspaces.registry import kinds
from tests.nas.experiments import TINY, written

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("training:", "trainin:", ":13: trainin: unknown key (did you mean 'training'?)"),
        ("epochs: 2", "epochs: two", ":13: training.epochs: should be a valid integer, not 'two'"),
        ("kind: nsga2", "kind: ngsa2", ":14: strategy.kind: no Strategy is called 'ngsa2' (did you mean 'nsga2'?)"),
        ("choice: [1.0, 2.0]", "choice: []", ":10: space.stages.0.block.channel_mixer.ratio.choice: a choice needs"),
        ("kernel: {choice: [3, 5]}", "kernel: {choice: [3, 4]}", ":9: space.stages.0.block.mixer.0.kernel.1: "),
        ("{kind: roofline}", "{kind: roofline", ":12: "),
        ("epochs: 2,", "epochs: 2, epochs: 3,", ":13: "),
        ("{kind: digits, calibration: 64}", "{kind: npz, file: missing.npz}", "missing.npz"),
        ("hardware: {kind: roofline}", "hardware: {kind: roofline}\nobjectives: {eror: minimize}", ":12: objectives"),
        (
            "hardware: {kind: roofline}",
            "hardware: {kind: roofline}\nobjectives: {}",
            ":12: objectives: name at least one",
        ),
    ],
)
def test_wrong_configurations_end_with_code_2_and_one_line_each(
    old: str, new: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TINY.count(old) == 1
    config = written(tmp_path, TINY.replace(old, new))
    assert run(monkeypatch, "search", config, "--runs", tmp_path / "runs") == 2
    printed = capsys.readouterr()
    assert told in printed.err and "Traceback" not in printed.err and len(printed.err.splitlines()) <= 5
    assert printed.out == "" and not (tmp_path / "runs").exists()


def test_all_faults_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        TINY.replace("epochs: 2", "epochs: -2").replace("kind: pooling", "kind: poling").replace("width: 4", "wdth: 4")
    )
    assert run(monkeypatch, "validate", written(tmp_path, text)) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in errors] == [
        "space.stem.wdth",
        "space.stem.width",
        "space.stages.0.block.mixer.1.kind",
        "training.epochs",
    ]


def test_a_constraint_out_of_reach_ends_with_code_3_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, TINY + "constraints: {latency_ms: 1e-9}\n")
    assert run(monkeypatch, "search", config, "--runs", tmp_path / "runs") == 3
    printed = capsys.readouterr().err
    assert "latency_ms <= 1e-09 cannot be met: the best of" in printed and "train" not in printed


def test_an_unwritable_runs_folder_ends_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, "search", written(tmp_path), "--runs", tmp_path / "file" / "runs") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_missing_file_and_a_bad_override_end_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "validate", tmp_path / "none.yaml") == 2
    assert run(monkeypatch, "validate", written(tmp_path), "--set", "training.epochs") == 2
    assert run(monkeypatch, "validate", written(tmp_path), "--set", "training.epoch=3") == 2
    told = capsys.readouterr().err
    assert "none.yaml" in told and "a.b.c=value" in told and "(did you mean 'epochs'?)" in told


def test_nothing_to_resume_and_an_existing_name_end_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, runs = written(tmp_path), tmp_path / "runs"
    assert run(monkeypatch, "search", config, "--runs", runs, "--resume") == 2
    (runs / "mine").mkdir(parents=True)
    assert run(monkeypatch, "search", config, "--runs", runs, "--name", "mine") == 2
    told = capsys.readouterr().err
    assert "no run to resume" in told and "exists already" in told


def test_a_report_of_no_run_ends_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "report", tmp_path) == 2
    assert "resolved.yaml" in capsys.readouterr().err


def test_usage_errors_end_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "serch") == 2
    assert run(monkeypatch, "list", "mixer") == 2
    assert "did you mean 'mixers'" in capsys.readouterr().err


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_by_command_and_by_schema(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "validate", example) == 0
    assert "valid" in capsys.readouterr().out
    text = example.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    schema = json.loads((example.parent / "schema.json").read_text(encoding="utf-8"))
    from nas.yaml_source import load

    jsonschema.Draft202012Validator(schema).validate(load(text, "x").data)


def test_configurations_over_tables_are_validated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = jsonschema.Draft202012Validator(json.loads((EXAMPLES[0].parent / "schema.json").read_text()))
    table = {
        "task": {"kind": "tabular", "table": "t.csv", "decisions": ["a"], "objectives": {"error": "e"}},
        "objectives": {"error": "minimize"},
    }
    nsga2 = {"kind": "nsga2", "evaluations": 20}
    for rest, told in (
        ({"strategy": nsga2}, "20 evaluations by nsga2 on a table"),
        ({"strategies": [nsga2], "rivals": ["optuna_tpe"], "seeds": 3}, "1 strategies and 1 rivals, 3 seeds each"),
    ):
        config = written(tmp_path, yaml.safe_dump({**table, **rest}))
        assert run(monkeypatch, "validate", config) == 0
        assert told in capsys.readouterr().out
        schema.validate({**table, **rest})
        assert run(monkeypatch, "validate", config, "--set", "objectives.eror=minimise") == 2
        assert "objectives: should be 'minimize' or 'maximize'" in capsys.readouterr().err
    assert run(monkeypatch, "search", config, "--runs", tmp_path) == 2
    assert f"nas compare {config}" in capsys.readouterr().err


def test_layers_that_do_not_fit_are_a_fault_of_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = EXAMPLES[0].parents[1] / "tests" / "searchspaces" / "networks" / "examples" / "litepose.yaml"
    space = {**yaml.safe_load(network.read_text(encoding="utf-8")), "deconvolutions": [4] * 6}
    config = written(tmp_path, yaml.safe_dump({**yaml.safe_load(TINY), "space": space}))
    line = 1 + config.read_text(encoding="utf-8").splitlines().index("space:")
    assert run(monkeypatch, "validate", config) == 2
    assert capsys.readouterr().err.strip() == f"{config}:{line}: space: 6 deconvolutions need more than 3 stages"


def test_the_schema_of_the_examples_is_the_printed_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "schema") == 0
    printed = capsys.readouterr().out
    assert printed == (EXAMPLES[0].parent / "schema.json").read_text(encoding="utf-8"), (
        "run: nas schema > examples/schema.json"
    )


@pytest.mark.parametrize("wrong", ["trainin: {}", "strategy: {kind: nsga, evaluations: 3}", "space: {kind: chain}"])
def test_the_schema_refuses_what_the_command_refuses(wrong: str) -> None:
    schema = json.loads((EXAMPLES[0].parent / "schema.json").read_text(encoding="utf-8"))
    data = {**yaml.safe_load(TINY), **yaml.safe_load(wrong)}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(data)


def test_the_starter_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init") == 0
    assert run(monkeypatch, "validate", written(tmp_path, capsys.readouterr().out)) == 0


def test_list_shows_every_part_with_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "list", "--json") == 0
    roles = json.loads(capsys.readouterr().out)
    assert {"mixers", "backends", "strategies", "training", "tasks", "data", "networks"} <= roles.keys()
    assert all(row["summary"] for parts in roles.values() for row in parts.values())
    assert roles["mixers"]["attention"]["growth"] == 2.0
    assert run(monkeypatch, "list", "gates") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["gates", "axes", "causal", "growth", "int8", "export", "ms"]
    assert [line.split()[0] for line in lines] == kinds(Gate)


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "search", written(tmp_path), "--dry-run", "--runs", tmp_path / "runs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["task", "space", "profile", "training", "search", "export"]
    assert not (tmp_path / "runs").exists()


def test_profile_prints_each_block_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "profile", written(tmp_path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    texts = [json.dumps([row["block"], row["shape"]]) for row in found["blocks"]]
    assert len(texts) == len(set(texts)) > 10 and found["failures"] == []
    assert all(row["latency_ms"] >= 0 for row in found["blocks"])


def quick(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which fails if it imports a heavy library."""
    code = f"import sys; sys.argv = ['nas', *{arguments!r}]\n"
    code += "from nas.cli import main\ntry:\n    main()\nfinally:\n"
    code += (
        "    assert not {'torch', 'onnxruntime', 'ray', 'sklearn', 'plotly'} & set(sys.modules), sorted(sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["list"], ["init"]], ids=lambda arguments: arguments[0])
def test_quick_commands_never_import_torch(arguments: list[str]) -> None:
    done = quick(arguments)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_validate_never_imports_torch_whether_the_file_is_right_or_wrong(tmp_path: Path) -> None:
    assert quick(["validate", str(written(tmp_path))]).returncode == 0
    wrong = quick(["validate", str(written(tmp_path, TINY.replace("nsga2", "ngsa2")))])
    assert wrong.returncode == 2 and "did you mean 'nsga2'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_every_failure_with_an_exit_code_exists() -> None:
    for name in CODES:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), kind), Exception)
    assert exit_code(ValueError("a fault of ours")) is None and exit_code(FileNotFoundError("x")) == 1
