"""``rollout``: bring a release to devices in stages, and what operators do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.output import Format, FormatOption, many, show, table

if TYPE_CHECKING:
    from edgeloop.fleet.views import RolloutView

rollouts = typer.Typer(help="Rollouts: start, list, pause, stop, roll back.", no_args_is_help=True)
Number = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The rollout's number.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(rollouts, name="rollout")


@rollouts.command()
def start(
    version: Annotated[
        int | None, typer.Option(min=1, help="Which release; without it the newest listed.")
    ] = None,
    loop: Annotated[Path, typer.Option(help="The loop file.")] = Path("loop.yaml"),
    name: Annotated[
        str, typer.Option(help="Of a payload, see `release payload`; without it the loop's model.")
    ] = "",
    channel: Annotated[str, typer.Option(help="Of it; without it the loop's.")] = "",
    draft: Annotated[bool, typer.Option(help="Only make it; `rollout resume` starts it.")] = False,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Start the rollout of a release by its signed plan."""
    from edgeloop.errors import NotListedError
    from edgeloop.loop.file import load_loop
    from edgeloop.release.repository import read_list

    checked = load_loop(loop)
    release = checked.settings.release
    name, channel = name or checked.name, channel or release.channel
    listed = read_list(checked.path(release.repository), name, channel).releases
    if not listed:
        raise NotListedError(f"{channel}/{name}", "has no release yet", todo="Run `edgeloop run`")
    chosen = listed[-1].version if version is None else version
    made = connect(fleet).create_rollout(name, channel, chosen, start=not draft)
    _say(made, form, plan=True)


@rollouts.command("list")
def listed(fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """List every rollout."""
    rows = [
        {**view.model_dump(mode="json", exclude={"jobs"}), "devices": _counts(view)}
        for view in connect(fleet).rollouts()
    ]
    table(rows, ("id", "name", "version", "state", "devices", "reason"), form, "no rollouts")


@rollouts.command("show")
def show_rollout(
    number: Number, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Show one rollout and each of its devices."""
    view = connect(fleet).rollout(number)
    if form is Format.JSON:
        show(view.model_dump(mode="json"), form, "")
        return
    _say(view, form, plan=True)
    rows = [job.model_dump(mode="json") for job in view.jobs]
    columns = ("device_name", "group", "stage", "state", "reason", "waiting")
    waits = any(job.waiting for job in view.jobs)
    table(rows, columns if waits else columns[:-1], form, "no devices")


@rollouts.command()
def pause(number: Number, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Offer nothing new until it is resumed."""
    _say(connect(fleet).pause(number), form)


@rollouts.command()
def resume(number: Number, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Start a draft, or go on after a pause."""
    from edgeloop.protocol.messages import RolloutState

    client = connect(fleet)
    is_draft = client.rollout(number).state is RolloutState.DRAFT
    _say(client.start(number) if is_draft else client.resume(number), form, plan=is_draft)


@rollouts.command()
def stop(
    number: Number,
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """End a rollout early; devices keep what they run."""
    _say(connect(fleet).stop(number, reason), form)


@rollouts.command()
def rollback(
    number: Number,
    to: Annotated[int, typer.Option(min=1, help="The release to go back to.")],
    select: Annotated[str, typer.Option(help="all, or label=value,...")] = "all",
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Bring devices back to an older release that is still listed.

    It ends as `incomplete` when a device did not go back; `rollout show` and the audit log say
    which, why, and what it runs.
    """
    _say(connect(fleet).roll_back(number, to, select), form, plan=True)


def _say(view: RolloutView, form: Format, *, plan: bool = False) -> None:
    """Where a rollout is; with ``plan`` also what goes out, to whom, and what to look at."""
    text = f"rollout {view.id} of {view.channel}/{view.name} {view.version}: {view.state}"
    reason = f" ({view.reason})" if view.reason else ""
    counts = f", {_counts(view)}" if view.counts else ""
    lines = [f"{text}{reason}{counts}"]
    if set(view.variants) - {"main"}:
        each = sorted(view.variants.items())
        lines.append(f"  variants: {', '.join(f'{name} on {n}' for name, n in each)}")
    if plan:
        lines += [f"  release {view.digest}", *_groups(view)]
        lines += [f"  warning: {warning}" for warning in view.warnings]
    show(view.model_dump(mode="json"), form, "\n".join(lines))


def _groups(view: RolloutView) -> Iterator[str]:
    for index, group in enumerate(view.plan.groups):
        size = sum(job.group == index for job in view.jobs)
        devices = "" if view.started is None else f" {many(size, 'device')},"
        yield f"  group {group.select}:{devices} stages {', '.join(map(str, group.stages))}"


def _counts(view: RolloutView) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(view.counts.items()) if count)
