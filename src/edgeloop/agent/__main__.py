"""The agent as a program: ``python -m edgeloop.agent enrol | claim | run | batch | status ...``.

Results go to stdout as JSON, logs to stderr. The exit status is the error's, see ``errors.py``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.agent import held, settings
from edgeloop.agent.agent import Agent
from edgeloop.agent.agent_payload import launched
from edgeloop.agent.notify import Notifier
from edgeloop.agent.slots import Slots
from edgeloop.agent.states import Ledger
from edgeloop.errors import EdgeloopError, RowsFailedError
from edgeloop.orphans import when_parent_ends

if TYPE_CHECKING:
    from edgeloop.types import Json

INTERRUPTED = 130
ENDPOINT = "endpoint.json"  # where applications find the address of a running agent
TARGET = (
    "class of devices that this one belongs to, a free name such as linux-x86: a release that"
    " names targets goes to devices of those alone; auto takes this system and processor"
)
PUBLIC = (
    "let --listen be any address of this machine, such as 0.0.0.0:8080: whoever reaches it may ask,"
    " so that TLS and authentication belong to a proxy in front"
)
INVITATION = "file with all of server, token, model, channel, root and ca, by `fleet token`"
AUTHORITY = "ca.pem that vouches for the control plane; without it the system's authorities do"
MIRROR = (
    "where files are looked for before the control plane is asked: a web folder"
    " (https://host/folder), a registry (oci+https://host/name), or file:///folder; repeatable"
)
FACTORY = "folder with factory.json, certificate.pem and key.pem, as the device left its maker"
KEY = "where the device's key lives: file: is its folder, pkcs11:... (RFC 7512) a TPM or such"
NEW_KEY = "take another key than before, as a device that was revoked must"
CONDITION = (
    "hours=22:00-04:00,12:00-13:00; days=sat,sun; download='any time'; charging=true;"
    " metered=false; battery=30; temperature=60; bandwidth='50 kB'; time_zone=Europe/Rome;"
    " nothing behind = takes it away"
)
WAIT = "most seconds for the control plane and for an update, before the rows are answered"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    told = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=told.log.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        told.command(told)
    except EdgeloopError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def status(folder: Path) -> Json:
    """What a device's folder says, and whether an agent runs in it now.

    Raises:
        AgentFolderError: the folder was not enrolled, or is broken.
    """
    told, progress = settings.read(folder), Ledger(folder / "progress.json").now
    slots, (running, pid) = Slots(folder).now, held.running(folder)
    return {
        "device": told.device,
        "name": told.name,
        "running": running,
        "pid": pid,
        "state": str(progress.state),
        "moves": progress.moves,
        "current": slots.current and slots.current.model_dump(),
        "previous": slots.previous and slots.previous.model_dump(),
        "trying": progress.trying and progress.trying.model_dump(),
        "outcome": progress.outcome and progress.outcome.model_dump(mode="json"),
        "failed": {digest: failed.reason for digest, failed in slots.failed.items()},
        "waited_seconds": progress.waited,
        "rest": progress.record.rest and progress.record.rest.model_dump(),
    }


def _enrol(told: argparse.Namespace) -> None:
    from edgeloop.agent import enrolment, invitation  # what a running agent need not hold

    said = {name: getattr(told, name) for name in ("server", "token", "model", "channel")}
    made = enrolment.enrol(
        told.folder,
        name=told.name,
        labels=settings.labels(told.label),
        **_of_device(told),
        **invitation.told(told.invitation, root=told.root, ca=told.ca, **said),
    )
    _say({"device": made.device, "name": made.name, "target": made.target})


def _of_device(told: argparse.Namespace) -> dict[str, Any]:
    """What a person decides for a device, however it is enrolled."""
    names = ("target", "listen", "opt_in", "threads", "key", "new_key")
    return {name: getattr(told, name) for name in names} | {"mirrors": tuple(told.mirror)}


def _claim(told: argparse.Namespace) -> None:
    from edgeloop.agent import claiming  # what a running agent need not hold

    made = claiming.claim(
        told.folder, told.factory, labels=settings.labels(told.label), **_of_device(told)
    )
    _say({"device": made.device, "name": made.name, "target": made.target, "model": made.model})


def _rotate_key(told: argparse.Namespace) -> None:
    from edgeloop.agent import rotate_key  # what a running agent need not hold

    _say({"key": rotate_key.of_folder(told.folder)})


def _postpone(told: argparse.Namespace) -> None:
    from edgeloop.agent import owner  # what a running agent need not hold
    from edgeloop.clock import SystemClock

    _say(owner.postpone(told.folder, told.seconds, SystemClock()))


def _retry(told: argparse.Namespace) -> None:
    from edgeloop.agent import owner  # what a running agent need not hold

    _say(owner.retry(told.folder))


def _conditions(told: argparse.Namespace) -> None:
    from edgeloop.agent import owner  # what a running agent need not hold

    _say(owner.conditions(told.folder, told.condition))


def _run(told: argparse.Namespace) -> None:
    stop = _stop()
    if told.until_stdin_closes:
        when_parent_ends(stop.set)
    with Agent.open(told.folder) as agent, ExitStack() as open_things:
        listen = told.listen or agent.settings.listen
        serving = _serving(agent, listen, public=told.public) if listen else nullcontext()
        address = open_things.enter_context(serving)
        about = {"pid": os.getpid(), "url": address, "name": agent.settings.name}
        durable.write(told.folder / ENDPOINT, json.dumps(about).encode())
        open_things.callback((told.folder / ENDPOINT).unlink, missing_ok=True)
        _say(about)
        manager = Notifier.of_environment()
        manager.ready()
        open_things.callback(manager.stopping)
        agent.run(stop, manager.alive)
    how = launched()
    if agent.restarts and how is not None:  # a new environment of the agent waits
        raise SystemExit(how.again())


def _serving(agent: Agent, listen: str, *, public: bool) -> AbstractContextManager[str]:
    from edgeloop.agent.endpoint import serving  # a web server, where one is wanted

    return serving(agent, listen, public=public)


def _batch(told: argparse.Namespace) -> None:
    from edgeloop.agent import batch, rows  # what a serving agent need not hold

    stop, out = _stop(), told.out
    with Agent.open(told.folder) as agent:
        batch.settle(agent, told.wait, stop)
        found = rows.read(told.rows, agent.slot().inputs)
        tally = batch.answer_all(agent, found, out, stop)
    about = {"rows": tally.rows, "failed": tally.failed, "kept": tally.kept}
    _say({**about, "answers": str(out) if tally.whole else None})
    if not tally.whole:
        raise KeyboardInterrupt
    if tally.failed:
        raise RowsFailedError(
            f"batch of {told.rows.name}",
            "must be answered whole",
            got=f"{tally.failed} of {tally.rows} rows that failed",
            todo=f"Their lines in {out.name} say why; the others are answered",
        )


def _stop() -> threading.Event:
    """Set when this process is asked to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _formats(_told: argparse.Namespace) -> None:
    from edgeloop.agent import formats  # what a running agent need not hold

    _say({"version": settings.agent_version(), "formats": dict(formats.written())})


def _status(told: argparse.Namespace) -> None:
    _say(status(told.folder))


def _say(result: Json) -> None:
    sys.stdout.write(f"{json.dumps(result)}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edgeloop.agent", description=__doc__)
    parser.add_argument("--log", default="info", choices=("debug", "info", "warning", "error"))
    commands = parser.add_subparsers(required=True)

    enrol = commands.add_parser("enrol", help="make a folder a device of a control plane")
    enrol.add_argument("--folder", type=Path, required=True)
    enrol.add_argument("--name", required=True, help="this device's name in the fleet")
    enrol.add_argument("--invitation", type=Path, help=INVITATION)
    enrol.add_argument("--server", default="", help="base address of the control plane")
    enrol.add_argument("--token", default="", help="one-time token of an operator")
    enrol.add_argument("--model", default="", help="name of the model that it runs")
    enrol.add_argument("--root", type=Path, help="first root metadata, from a trusted way")
    enrol.add_argument("--ca", type=Path, help=AUTHORITY)
    enrol.add_argument("--channel", default="", help="of the model (stable)")
    _add_device_options(enrol)
    enrol.set_defaults(command=_enrol)

    claim = commands.add_parser("claim", help="make a folder a device by a factory's certificate")
    claim.add_argument("--folder", type=Path, required=True)
    claim.add_argument("--factory", type=Path, required=True, help=FACTORY)
    _add_device_options(claim)
    claim.set_defaults(command=_claim)

    follow = commands.add_parser("rotate-key", help="give an enrolled device a new key")
    follow.add_argument("--folder", type=Path, required=True)
    follow.set_defaults(command=_rotate_key)

    run = commands.add_parser("run", help="run the agent of an enrolled folder")
    run.add_argument("--folder", type=Path, required=True)
    run.add_argument("--listen", default="", help="in place of the enrolled one")
    run.add_argument("--public", action="store_true", help=PUBLIC)
    run.add_argument("--until-stdin-closes", action="store_true")
    run.set_defaults(command=_run)

    batch = commands.add_parser("batch", help="answer every row of a folder or file, then end")
    batch.add_argument("--folder", type=Path, required=True)
    batch.add_argument("rows", type=Path, help="folder of images, .jsonl or .npz file")
    batch.add_argument("-o", "--out", type=Path, required=True, help="file for the answers")
    batch.add_argument("--wait", type=float, default=60.0, help=WAIT)
    batch.set_defaults(command=_batch)

    _add_owners(commands)

    able = commands.add_parser(
        "formats", help="which formats this agent writes: an older one asks before it gives way"
    )
    able.set_defaults(command=_formats)

    say = commands.add_parser(
        "status", help="what a device's folder says, and whether an agent runs in it"
    )
    say.add_argument("--folder", type=Path, required=True)
    say.set_defaults(command=_status)
    return parser


def _add_device_options(to: argparse.ArgumentParser) -> None:
    """The same for every way to become a device."""
    to.add_argument("--mirror", action="append", default=[], metavar="ADDRESS", help=MIRROR)
    to.add_argument("--target", default="auto", help=TARGET)
    to.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    to.add_argument("--listen", default="", help="loopback address for applications, or unix:/path")
    to.add_argument(
        "--opt-in", action="store_true", help="let confirmed inputs leave this device when asked"
    )
    to.add_argument("--threads", type=int, default=1, help="that one answer may use")
    to.add_argument("--key", default="file:", metavar="URI", help=KEY)
    to.add_argument("--new-key", action="store_true", help=NEW_KEY)


def _add_owners(commands: Any) -> None:
    """What whoever stands at the device decides."""
    postpone = commands.add_parser("postpone", help='say "not now" to the update on its way')
    postpone.add_argument("--folder", type=Path, required=True)
    postpone.add_argument("seconds", type=float, help="from now; 0 is now after all")
    postpone.set_defaults(command=_postpone)

    retry = commands.add_parser("retry", help="try again what failed, and rest no longer")
    retry.add_argument("--folder", type=Path, required=True)
    retry.set_defaults(command=_retry)

    conditions = commands.add_parser("conditions", help="when this device takes an update up")
    conditions.add_argument("--folder", type=Path, required=True)
    conditions.add_argument("condition", nargs="*", metavar="NAME=VALUE", help=CONDITION)
    conditions.set_defaults(command=_conditions)


if __name__ == "__main__":
    sys.exit(main())
