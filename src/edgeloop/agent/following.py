"""Build what a device follows beside its model, each in a folder of its own.

``<agent folder>/also/<name>/`` holds ``progress.json``, ``slots``, ``blobs`` and ``tuf`` as the
agent's folder does for the model, and ``handed.json`` while something was handed to its handler.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop import durable
from edgeloop.agent import settings
from edgeloop.agent.agent_payload import AgentHandler, AgentParts, AgentPayload, launched
from edgeloop.agent.beside import Observer
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.commands import Commands
from edgeloop.agent.device import Device
from edgeloop.agent.environments import Environments
from edgeloop.agent.gate import Gate, GateParts, PausedError
from edgeloop.agent.handled_payload import HandledParts, HandledPayload
from edgeloop.agent.handlers import Handler, open_handler
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.others import Others, Subject, SubjectParts
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.slots import Slots
from edgeloop.agent.sources import Server, source
from edgeloop.agent.states import Ledger
from edgeloop.agent.transport import Pace
from edgeloop.agent.update import Parts, Update
from edgeloop.errors import AgentFolderError
from edgeloop.release.payloads import need

if TYPE_CHECKING:
    from edgeloop.agent.agent import Surroundings
    from edgeloop.agent.allowed import SignedList
    from edgeloop.agent.control_plane import ControlPlane
    from edgeloop.agent.hooks import Hooks
    from edgeloop.agent.notices import Notices
    from edgeloop.agent.settings import Follow, Settings

ALSO = "also"
UNPACED = Pace(bytes_per_second=0)  # the mirrors see to it, each place by itself


@dataclass(frozen=True, kw_only=True)
class Home:
    """The device that follows. ``certain`` gives Unix seconds that have passed for certain."""

    folder: Path
    told: Settings
    around: Surroundings
    plane: ControlPlane
    hooks: Hooks
    notices: Notices
    certain: Callable[[], float]
    reported: Callable[[], bool]  # whether a report of this process came through
    restart: Callable[[], None]  # ask for a new process of the agent


def follow(home: Home, stop: Callable[[], threading.Event]) -> Others:
    """Everything that the device's settings name; ``stop`` ends downloads.

    Raises:
        AgentFolderError: a handler's settings break a rule, a name is there twice, or a folder is
            broken.
    """
    _refuse_doubles(home.told)
    commands = Commands()
    subjects = [_subject(home, one, commands, stop) for one in home.told.follows]
    return Others(subjects, commands)


def _refuse_doubles(told: Settings) -> None:
    names = [told.model, *(one.name for one in told.follows)]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise AgentFolderError(
            "follows", "must name each thing once, and not the model", got=double
        )


def _subject(
    home: Home, told: Follow, commands: Commands, stop: Callable[[], threading.Event]
) -> Subject:
    handler = open_handler(told.handler, f"follows.{told.name}")
    folder = home.folder / ALSO / told.name
    durable.make_folder(folder)
    around, clock = home.around, home.around.clock
    ledger = Ledger(folder / "progress.json", Observer(home.hooks, home.notices, clock))
    slots = Slots(folder)
    gate = _gate(home, ledger, slots)
    restraint = Restraint(ledger, clock, around.draw)
    payload = _payload(home, handler, slots, commands)
    update = Update(
        Parts(
            ledger=ledger,
            slots=slots,
            blobs=Blobs(folder, _mirrors(home, gate, stop).read, clock, UNPACED),
            channel=lambda: _channel(home, told, folder),
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


def _gate(home: Home, ledger: Ledger, slots: Slots) -> Gate:
    """The conditions of the device hold for everything that it follows."""
    return Gate(
        GateParts(
            folder=home.folder,
            ledger=ledger,
            slots=slots,
            clock=home.around.clock,
            readings=home.around.readings,
            certain=home.certain,
            hooks=home.hooks,
            notices=home.notices,
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
            reported=home.reported,
            restart=home.restart,
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


def _channel(home: Home, told: Follow, folder: Path) -> SignedList:
    from edgeloop.release.client import Channel  # python-tuf, which an idle agent need not hold

    return Channel(
        folder / "tuf",
        (home.folder / settings.ROOT).read_bytes(),
        home.plane.fetch,
        f"{home.told.repository_url}/metadata/",
        f"{home.told.repository_url}/targets/",
        told.name,
        told.channel,
        clock=home.around.clock,
    )


def _mirrors(home: Home, gate: Gate, stop: Callable[[], threading.Event]) -> Mirrors:
    told, around = home.told, home.around
    server = Server(
        name=told.server,
        read=lambda digest, *part: home.plane.read_from(told.blob_url(digest), *part),
    )

    def came(size: int) -> None:
        gate.came(size)
        if stop().is_set():
            raise PausedError

    mirrors = [source(address, around.transport) for address in told.mirrors]
    return Mirrors(mirrors, server, around.clock, told.pace, came=came, limit=gate.bandwidth)
