"""``watch``: look for drift and let the trigger start the loop again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.amounts import number
from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.output import Format, FormatOption, show

if TYPE_CHECKING:
    from edgeloop.watch.trigger import Decision


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(watch)


def watch(
    loop: Annotated[Path, typer.Argument(help="The loop file.")] = Path("loop.yaml"),
    once: Annotated[bool, typer.Option(help="Look once and say what was found.")] = False,
    every: Annotated[
        float,
        typer.Option(min=0.1, max=86_400, callback=number, help="Seconds between two looks."),
    ] = 10.0,
    turns: Annotated[int, typer.Option(min=0, help="End behind so many turns; 0 is never.")] = 0,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="End with whoever started this.")
    ] = False,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Compare what devices see with what their release was measured on; learn when it moved.

    The trigger waits while a rollout runs. When it fires, opted-in devices of the group send
    samples, the recipe is fine-tuned, and what passes every gate is rolled out.
    """
    from edgeloop.cli.loop import tracker_of
    from edgeloop.clock import SystemClock
    from edgeloop.errors import EdgeloopError
    from edgeloop.loop.close import Watcher
    from edgeloop.loop.file import load_loop
    from edgeloop.orphans import when_parent_ends
    from edgeloop.store.artifacts import Store

    if until_stdin_closes:
        when_parent_ends()
    checked = load_loop(loop)
    watcher = Watcher(
        loop=checked,
        store=Store(checked.path(checked.settings.store)),
        fleet=connect(fleet),
        clock=SystemClock(),
        tracker=tracker_of(checked),
    )
    done = 0
    while True:
        try:
            decision = watcher.step()
        except EdgeloopError as fault:
            if once:
                raise
            sys.stderr.write(f"{fault}\n")  # noted where it can be; the next look may do better
            watcher.clock.sleep(every)
            continue
        done += decision.fired
        if once or decision.reason:
            _say(decision, form)
        if once or (turns and done >= turns):
            return
        watcher.clock.sleep(every)


def _say(decision: Decision, form: Format) -> None:
    told = {"move": decision.move, "group": decision.group, "reason": decision.reason}
    show(told, form, f"{decision.move}: {decision.reason}" if decision.reason else decision.move)
