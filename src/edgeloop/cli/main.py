"""The command line: one Typer program, results on stdout, logs and errors on stderr.

Exit codes: 0 done, 1 an error of edgeloop without a code of its own, 2 wrong input or usage, and
3 to 8 by kind of error (``edgeloop.errors``). 130 when interrupted.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from typing import Annotated

import typer

from edgeloop.errors import EdgeloopError

app = typer.Typer(
    name="edgeloop",
    help="One loop from data to a fleet of edge devices, and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

COMMANDS = (
    "loop",
    "study",
    "store",
    "release",
    "rollout",
    "fleet",
    "device",
    "agent",
    "watch",
    "report",
    "delta",
    "doctor",
)


def _version(asked: bool) -> None:  # noqa: FBT001  (Typer calls it with the option's value)
    if asked:
        from edgeloop import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="One log line per unit of work, on stderr.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One loop from data to a fleet of edge devices, and back."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,  # what went wrong is raised and told
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )


for _name in COMMANDS:
    importlib.import_module(f"edgeloop.cli.{_name}").add_to(app)


def main() -> None:
    """Run a command; an error of edgeloop becomes its message and its exit code."""
    try:
        app()
    except EdgeloopError as error:
        if {"json", "--format=json"} & set(sys.argv):
            sys.stderr.write(json.dumps({"error": error.to_json()}, default=str) + "\n")
        else:
            sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe went away: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
