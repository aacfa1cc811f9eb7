"""Write docs/reference from the live program: commands, plugins, errors, loop and study files.

``python docs/generate.py`` writes, ``--check`` only tells which pages differ (exit status 1).
"""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import typer
from pydantic import TypeAdapter

from edgeloop import plugins
from edgeloop.agent.__main__ import _parser as agent_parser
from edgeloop.agent.states import MOVES, Event
from edgeloop.cli.main import app
from edgeloop.clock import SystemClock
from edgeloop.errors import all_errors
from edgeloop.fleet.server import create_app
from edgeloop.fleet.settings import Settings
from edgeloop.loop.file import Structure
from edgeloop.loop.schema import loop_schema, study_schema
from edgeloop.protocol.messages import State

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
BY_HAND = {Path("delta-format.md")}  # tests/delta/test_delta_format.py holds it against the code
NOTE = "<!-- Written by docs/generate.py from the live program: change that, then `make docs`. -->"
KIND_TEXTS = {
    "source": "Rows in: what `data.source` may name.",
    "split": "How rows are divided: `data.split`.",
    "recipe": "How a model is built: `recipe`.",
    "pass": "Model in, model out: `passes`, in this order.",
    "check": "Model in, finding out: `checks`; one that does not pass stops the release.",
    "runtime": "What loads a model of a format. A loop file does not name these.",
    "answer": "What an answer means. A data set names its kind; a loop file does not.",
}


def pages() -> dict[Path, str]:
    """Every generated page, by its path under docs/reference."""
    schema = loop_schema()
    return {
        Path("commands.md"): commands_page(),
        Path("plugins.md"): plugins_page(),
        Path("errors.md"): errors_page(),
        Path("loop-file.md"): loop_page(Structure.model_json_schema()),
        Path("study-file.md"): study_page(study_schema()),
        Path("study.schema.json"): json.dumps(study_schema(), indent=1, sort_keys=True) + "\n",
        Path("loop.schema.json"): json.dumps(schema, indent=1, sort_keys=True) + "\n",
        Path("device-states.md"): states_page(),
        Path("control-plane.md"): control_plane_page(api := openapi()),
        Path("openapi.json"): json.dumps(api, indent=1, sort_keys=True) + "\n",
    }


# device


def states_page() -> str:
    """The table of an update, drawn and as a list."""
    hidden = (
        f"Not drawn: `{Event.WITHDRAWN}` leads from every busy state to `{State.IDLE}`, and"
        f" `{Event.POWER_LOST}` is what an agent finds at its start."
    )
    lines = [
        *("# The states of a device", "", NOTE, ""),
        "An update is this table, and what is not in it is an error.",
        "Each move is saved before it is made, with a counter, in `progress.json` of the device.",
        "`edgeloop fleet status` and `python -m edgeloop.agent status` say where a device is.",
        *("", "```mermaid", "stateDiagram-v2", *drawn_moves(), "```", "", hidden, ""),
        *table(("state", "event", "leads to"), [tuple(map(str, move)) for move in moves()]),
    ]
    return "\n".join(lines) + "\n"


def moves() -> list[tuple[State, Event, State]]:
    """Every move: state, event, and where it leads, in the order in which both are defined."""
    order = [(state, event) for state in State for event in Event if (state, event) in MOVES]
    return [(state, event, MOVES[state, event]) for state, event in order]


def drawn_moves() -> Iterator[str]:
    """Mermaid's line of each move that is part of the picture."""
    for state, event, after in moves():
        if event not in {Event.WITHDRAWN, Event.POWER_LOST}:
            yield f"    {state} --> {after}: {event}".replace("rolled back", "rolled_back")


# control plane


def openapi() -> dict[str, Any]:
    """The OpenAPI description that a running control plane serves at ``/openapi.json``."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        told = Settings(folder=folder, repository=folder / "r", layout=folder / "l")
        application = create_app(told, SystemClock())
        description: dict[str, Any] = application.openapi()
        application.state.plane.database.close()
    return description


def control_plane_page(api: Mapping[str, Any]) -> str:
    """Each address with its methods and what it does."""
    lines = ["# The control plane's API", "", NOTE, ""]
    lines += [
        "A running control plane serves this description at `/openapi.json`; here it is as",
        "[a file](openapi.json). Operators bear a token, devices sign each request (RFC 9421).",
        "",
    ]
    for path, methods in sorted(api["paths"].items()):
        for method, told in sorted(methods.items()):
            text = " ".join(told.get("description", told.get("summary", "")).split())
            lines += [f"## {method.upper()} {path}", "", text, ""]
    return "\n".join(lines).rstrip() + "\n"


# commands


def commands_page() -> str:
    """Each command with its arguments and options."""
    lines = ["# Commands", "", NOTE, ""]
    lines += ["Every command takes `--help`; exit codes are in [exit codes](../exit-codes.md).", ""]
    for name, command in commands():
        lines += command_lines(name, command)
    lines += ["## python -m edgeloop.agent", ""]
    lines += ["The agent where only the base package is installed.", ""]
    lines += ["```text", *agent_help(), "```", ""]
    return "\n".join(lines)


def commands() -> list[tuple[str, click.Command]]:
    """Every command that can be run, by its full name, in alphabetical order."""
    found: list[tuple[str, click.Command]] = []
    waiting: list[tuple[str, Any]] = [("edgeloop", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            found.append((name, command))
        waiting += [(f"{name} {key}", one) for key, one in inner.items()]
    return sorted(found, key=lambda pair: pair[0])


def command_lines(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    help_text = prose(command.help)
    lines = [f"## {name}", "", help_text, "", "```text", usage, "```", ""]
    rows = [parameter_row(one) for one in command.params]
    return [*lines, *table(("parameter", "default", "meaning"), rows)]


def parameter_row(parameter: Any) -> tuple[str, str, str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    argument = isinstance(parameter, click.Argument) or parameter.param_type_name == "argument"
    shown = parameter.name.upper() if argument else ", ".join(names)
    told = [(getattr(parameter, "help", "") or "").strip()]
    choices = getattr(parameter.type, "choices", None)
    if choices:
        told.append("One of " + ", ".join(str(getattr(c, "value", c)) for c in choices) + ".")
    if parameter.envvar:
        told.append(f"Or the variable `{parameter.envvar}`.")
    return f"`{shown}`", default_of(parameter), " ".join(part for part in told if part)


def default_of(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "must be given"
    if value is None or value is False or not str(value) or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def agent_help() -> list[str]:
    """The help of the agent's program and of each of its commands."""
    os.environ["COLUMNS"] = "90"  # argparse wraps by the terminal's width
    parser = agent_parser()
    (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    texts = [parser.format_help(), *(one.format_help() for one in group.choices.values())]
    return "\n".join(text.rstrip() + "\n" for text in texts).rstrip().splitlines()


# plugins


def plugins_page() -> str:
    """Each plugin of ours with its parameters, by kind."""
    lines = ["# Plugins", "", NOTE, ""]
    lines += ["The newest version is taken where none is named: `quantize` is `quantize.v1`.", ""]
    for kind, text in KIND_TEXTS.items():
        lines += [f"## {kind}", "", text, ""]
        for name, cls in ours(kind):
            lines += plugin_lines(name, cls)
    return "\n".join(lines)


def ours(kind: str) -> list[tuple[str, type]]:
    """What edgeloop itself registers; a third party's plugins are on its own pages."""
    found = [(name, plugins.get(kind, name)) for name in plugins.names(kind)]
    return [(name, cls) for name, cls in found if cls.__module__.startswith("edgeloop.")]


def plugin_lines(name: str, cls: type) -> list[str]:
    lines = [f"### {name}", "", prose(cls.__doc__), ""]
    lines += facts(cls)
    schema = TypeAdapter(cls).json_schema()
    rows = field_rows(schema)
    if not rows:
        return [*lines, "No parameters.", ""]
    lines += table(("parameter", "takes", "default"), rows)
    for inner, definition in sorted(schema.get("$defs", {}).items()):
        if "properties" in definition:
            lines += [
                f"`{inner}`:",
                "",
                *table(("field", "takes", "default"), field_rows(definition)),
            ]
    return lines


def facts(cls: type) -> list[str]:
    """What a step of this plugin depends on beside its parameters."""
    told = []
    if libraries := getattr(cls, "libraries", ()):
        told.append(f"- Libraries in its step's key: {', '.join(libraries)}.")
    if needs := getattr(cls, "needs", ()):
        told.append(f"- Uses: {', '.join(needs)}.")
    if paired := getattr(cls, "paired_by", ""):
        told.append(f"- In a study its differences row by row are found by: {paired}.")
    if getattr(cls, "machine_bound", False):
        told.append("- Its result holds for one machine only.")
    return [*told, ""] if told else []


# errors


def errors_page() -> str:
    """Every error number with its page."""
    rows = [
        (
            f"[{kind.number}](../errors/{kind.number}.md)",
            f"`{kind.__name__}`",
            str(kind.exit_code),
            prose(kind.__doc__).splitlines()[0],
        )
        for kind in all_errors()
        if kind.__module__ == "edgeloop.errors"
    ]
    return "\n".join(
        ["# Errors", "", NOTE, "", *table(("number", "class", "exit code", "says"), rows)]
    )


# the loop file


def loop_page(schema: Mapping[str, Any]) -> str:
    """Each section of the loop file with its fields."""
    lines = ["# The loop file", "", NOTE, ""]
    lines += [
        "`edgeloop schema > loop.schema.json` writes the JSON schema with the plugins installed",
        "there; [loop.schema.json](loop.schema.json) is the one without any third party's.",
        "Times take a unit (`20 s`, `5 ms`, `2 min`), sizes too (`300 kB`); a plain number is in",
        "the unit of the field: seconds, milliseconds or bytes.",
        "Paths are relative to the loop file.",
        "",
        "## Top level",
        "",
        *table(("field", "takes", "default"), field_rows(schema)),
    ]
    for name, definition in sorted(schema["$defs"].items()):
        lines += [f"## {name}", ""]
        if text := definition.get("description"):
            lines += [prose(text), ""]
        lines += table(("field", "takes", "default"), field_rows(definition))
    return "\n".join(lines)


# the study file


def study_page(schema: Mapping[str, Any]) -> str:
    """The study file with its fields."""
    lines = ["# The study file", "", NOTE, ""]
    lines += [
        "How one is used: [compare models over seeds](../how-to/study.md).",
        "[study.schema.json](study.schema.json) is its JSON schema.",
        "Paths are relative to the study file; those inside a loop file are relative to that file,",
        "but for its store: everything that a study makes goes into the study's.",
        "",
        "## Top level",
        "",
        *table(("field", "takes", "default"), field_rows(schema)),
    ]
    for name, definition in sorted(schema["$defs"].items()):
        lines += [f"## {name}", "", prose(definition["description"]), ""]
        lines += table(("field", "takes", "default"), field_rows(definition))
    return "\n".join(lines)


def prose(docstring: str | None) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


# schemas as tables


def field_rows(schema: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """One row per field: name, what it takes, default."""
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = "must be given" if name in required else shown_default(field)
        meaning = f". {field['description']}" if "description" in field else ""
        rows.append((f"`{name}`", takes(field) + meaning, default))
    return rows


def shown_default(field: Mapping[str, Any]) -> str:
    if "default" not in field:
        return ""
    if isinstance(field["default"], dict) and field["default"]:
        return "its own defaults"
    return f"`{json.dumps(field['default'])}`"


def takes(field: Mapping[str, Any]) -> str:
    """A field's type and limits in words."""
    if "$ref" in field:
        return f"`{field['$ref'].rsplit('/', 1)[1]}`"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in field:
            return " or ".join(dict.fromkeys(takes(one) for one in field[union]))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return " ".join([type_of(field), *limits(field)])


def type_of(field: Mapping[str, Any]) -> str:
    kind = field.get("type", "anything")
    if kind == "array":
        inner = field.get("items") or {}
        several = dict.fromkeys(takes(one) for one in field.get("prefixItems", ())) or [
            takes(inner)
        ]
        return f"list of {', '.join(several)}"
    words = {"object": "mapping", "integer": "whole number", "string": "text", "null": "nothing"}
    words |= {"boolean": "true or false"}
    return "path" if field.get("format") == "path" else words.get(kind, kind)


def limits(field: Mapping[str, Any]) -> Iterator[str]:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for key, sign in signs.items():
        if key in field:
            yield f"{sign} {field[key]:g}"
    if "pattern" in field:
        yield f"like `{field['pattern']}`"


def table(heads: tuple[str, ...], rows: list[Any]) -> list[str]:
    """A Markdown table and an empty line; nothing for no rows."""
    if not rows:
        return []
    lines = [heads, tuple("---" for _ in heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines] + [
        ""
    ]


def differing() -> list[str]:
    """The names of pages that are missing, differ, or that nothing writes any more."""
    wanted = pages()
    written = {p.relative_to(REFERENCE) for p in REFERENCE.rglob("*") if p.is_file()}
    stale = [str(path) for path in written - set(wanted) - BY_HAND]
    changed = [
        str(path)
        for path, text in wanted.items()
        if path not in written or (REFERENCE / path).read_text() != text
    ]
    return sorted(stale + changed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell which pages differ")
    if parser.parse_args().check:
        names = differing()
        print(
            f"pages that differ, run `make docs`: {', '.join(names)}"
            if names
            else "docs are current"
        )
        return int(bool(names))
    REFERENCE.mkdir(exist_ok=True)
    for path, text in pages().items():
        (REFERENCE / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
