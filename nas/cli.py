"""The command line. Standard output carries data, standard error the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from searchspaces.deferred import descriptions_only

app = typer.Typer(
    help="Hardware-aware neural architecture search: from one YAML file to deployable, Pareto-optimal models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Config = Annotated[Path, typer.Argument(help="The experiment's YAML file.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="a.b=c", help="Replace a value of the file; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Runs = Annotated[Path, typer.Option(help="Where runs are kept.")]


def main() -> None:
    """Runs a command; the process ends with its exit code."""
    from nas.failures import exit_code

    try:
        app()
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        print(error, file=sys.stderr)
        sys.exit(code)


@app.command()
def search(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the run; else the file's name and a counter.")] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Profile this machine, train shared weights, search them, and export the Pareto front."""
    from nas import commands

    if dry_run:
        print(commands.plan(config, overrides))
    else:
        print(commands.search(config, overrides, commands.Placing(runs, name, resume), as_json))


@app.command()
def train(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the run; else the file's name and a counter.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train the shared weights alone; `search --resume` goes on. In several processes: torchrun -m nas train."""
    from nas import commands

    folder = commands.train(config, overrides, commands.Placing(runs, name, resume))
    print(f"trained; continue with: nas search {config} --resume --name {folder.name}", file=sys.stderr)


@app.command()
def validate(config: Config, overrides: Overrides = []) -> None:  # noqa: B006
    """Check a configuration; every fault is told at once, with its place."""
    with descriptions_only():
        from nas.reading import outline, read_any

        print(f"{config}: valid; {outline(read_any(config, overrides))}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of configurations, for editors."""
    with descriptions_only():
        from nas.schema import schema as write

        print(json.dumps(write(), indent=1))


@app.command()
def profile(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Longest time; the informative first.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Also measure networks; write an HTML page.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep a predictor, for other devices.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the blocks of a space on its hardware; what is known already is not measured again."""
    from nas import commands

    overrides = overrides if budget is None else [*overrides, f"profile.minutes={budget}"]
    page = commands.profile_report(config, overrides, report) if report else None
    print(commands.profile(config, overrides, as_json, save))
    if page:
        print(f"page  {page}", file=sys.stderr)


@app.command()
def compare(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    page: Annotated[Path | None, typer.Option(metavar="PAGE", help="Also write an HTML page.")] = None,
    as_json: Json = False,
) -> None:
    """Compare strategies, and rivals where installed, on a table over many seeds."""
    from nas import commands

    print(commands.compare(config, overrides, page, as_json))


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report anew, and print where it is."""
    from nas.report.page import write_report

    print(write_report(run))


@app.command()
def export(
    run: RunFolder,
    architecture: Annotated[str, typer.Option(help="Id of an architecture of the run's archive.")],
    format: Annotated[
        list[str] | None, typer.Option(help="One of `nas list export`; all by default; repeatable.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The folder to write; the run's exports/ID by default.")] = None,
) -> None:
    """Export one architecture of a run, and print the folder."""
    from nas import commands

    print(commands.export(run, architecture, format or [], to))


@app.command("list")
def list_parts(
    role: Annotated[str | None, typer.Argument(help="One role only.")] = None, as_json: Json = False
) -> None:
    """List every part there is, by role."""
    with descriptions_only():
        from nas import catalogue, operators

        roles = catalogue.roles()
        if role is not None and role not in roles:
            from searchspaces.registry import did_you_mean

            raise typer.BadParameter(
                f"no role is called {role}{did_you_mean(role, roles)}; there are: {', '.join(roles)}"
            )
        chosen = {name: found for name, found in roles.items() if role in (None, name)}
        rows = {
            name: {kind: {"summary": part.summary()} for kind, part in catalogue.parts(found)}
            for name, found in chosen.items()
        }
    rows = operators.with_facts(rows)
    print(json.dumps(rows, indent=1) if as_json else operators.listing(rows))


@app.command()
def init() -> None:
    """Print a commented configuration to start from."""
    from importlib.resources import files

    print(files("nas").joinpath("starter.yaml").read_text(encoding="utf-8"), end="")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what this machine is, which backends work, and how to get the others."""
    from nas.doctor import examine, lines

    found = examine()
    print(json.dumps(found, indent=1) if as_json else "\n".join(lines(found)))


@app.command()
def agent(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 7077,
    host: Annotated[
        str, typer.Option(help="Address to listen on; at this one, only this machine is heard.")
    ] = "127.0.0.1",
    secret_file: Annotated[Path | None, typer.Option(help="Private file with the secret of both sides.")] = None,
    secret_env: Annotated[str, typer.Option(help="Variable with it, where no file is named.")] = "NAS_AGENT_SECRET",
) -> None:
    """Measure exported files for another machine, which names this one as `hardware: {kind: remote, ...}`."""
    from hardware.agent.server import serve

    serve(port, host, secret_file, secret_env)
