"""Build what a device follows beside its model, each in a folder of its own.

``<agent folder>/also/<name>/`` holds ``progress.json``, ``slots``, ``blobs`` and ``tuf`` as the
agent's folder does for the model, and ``handed.json`` while something was handed to its handler.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgeloop import durable
from edgeloop.agent.agent_payload import AgentHandler, AgentParts, AgentPayload, launched
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.commands import Commands
from edgeloop.agent.device import Device
from edgeloop.agent.environments import Environments
from edgeloop.agent.handled_payload import HandledParts, HandledPayload
from edgeloop.agent.handlers import Handler, open_handler
from edgeloop.agent.home import UNPACED
from edgeloop.agent.others import Others, Subject, SubjectParts
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.slots import Slots
from edgeloop.agent.update import Parts, Update
from edgeloop.errors import AgentFolderError
from edgeloop.release.payloads import need

if TYPE_CHECKING:
    from edgeloop.agent.home import Home
    from edgeloop.agent.settings import Follow, Settings

ALSO = "also"


def follow(home: Home) -> Others:
    """Everything that the device's settings name.

    Raises:
        AgentFolderError: a handler's settings break a rule, a name is there twice, or a folder is
            broken.
    """
    _refuse_doubles(home.told)
    commands = Commands()
    subjects = [_subject(home, one, commands) for one in home.told.follows]
    return Others(subjects, commands)


def _refuse_doubles(told: Settings) -> None:
    names = [told.model, *(one.name for one in told.follows)]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise AgentFolderError(
            "follows", "must name each thing once, and not the model", got=double
        )


def _subject(home: Home, told: Follow, commands: Commands) -> Subject:
    handler = open_handler(told.handler, f"follows.{told.name}")
    folder = home.folder / ALSO / told.name
    durable.make_folder(folder)
    around, clock = home.around, home.around.clock
    ledger, slots = home.ledger(folder), Slots(folder)
    gate = home.gate(ledger, slots)
    restraint = Restraint(ledger, clock, around.draw)
    payload = _payload(home, handler, slots, commands)
    update = Update(
        Parts(
            ledger=ledger,
            slots=slots,
            blobs=Blobs(folder, home.mirrors(gate, _nobody).read, clock, UNPACED),
            channel=lambda: home.channel(folder, told.name, told.channel),
            payload=payload,
            answers=lambda: 0,
            incoming=folder / "incoming.json",
            timer=around.timer,
            gate=gate,
            restraint=restraint,
        )
    )
    return Subject(
        SubjectParts(
            name=told.name,
            channel=told.channel,
            kind=handler.takes,
            update=update,
            ledger=ledger,
            slots=slots,
            gate=gate,
            restraint=restraint,
            checks=lambda: payload.checks,
            clock=clock,
        )
    )


def _payload(
    home: Home, handler: Handler, slots: Slots, commands: Commands
) -> HandledPayload | AgentPayload:
    runtimes = (need(handler.takes),)
    if isinstance(handler, AgentHandler):
        how = launched()
        parts = AgentParts(
            folder=home.folder,
            slots=slots,
            environments=Environments(
                folder=home.folder,
                python=how.python if how else sys.executable,
                commands=commands,
                timeout_seconds=handler.timeout_seconds,
            ),
            device=_device(home, runtimes if how else ()),
            handler=handler,
            running=how.running if how else None,
            reported=lambda: home.running.heard,
            restart=home.running.restart,
        )
        return AgentPayload(parts)
    return HandledPayload(
        HandledParts(
            handler=handler,
            slots=slots,
            file=slots.beside("handed.json"),
            commands=commands,
            clock=home.around.clock,
            device=_device(home, runtimes),
            boot=home.around.boot,
        )
    )


def _device(home: Home, runtimes: tuple[str, ...]) -> Device:
    """As a payload sees it: it asks for no other runtime than somebody who takes it."""
    return Device(target=home.told.target, execution="", runtimes=runtimes)


def _nobody() -> None:
    """Whether the agent hangs is told by its loop, not by a download of a thread of its own."""
