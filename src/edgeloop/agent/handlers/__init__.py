"""Who takes a payload that is no model, as the device's owner has set it: one small protocol.

Ours are ``script``, ``rauc``, ``swupdate`` and ``container``, one file each. A third party's is a
pydantic model under the entry point group ``edgeloop.handlers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from edgeloop.errors import AgentFolderError

if TYPE_CHECKING:
    from edgeloop.agent.commands import Commands
    from edgeloop.protocol.messages import ReleaseRef

OURS = {
    "script": "edgeloop.agent.handlers.script:Script",
    "rauc": "edgeloop.agent.handlers.rauc:Rauc",
    "swupdate": "edgeloop.agent.handlers.swupdate:Swupdate",
    "container": "edgeloop.agent.handlers.container:Container",
    "agent": "edgeloop.agent.agent_payload:AgentHandler",
}
GROUP = "edgeloop.handlers"


class Action(StrEnum):
    """What a handler is asked for, in this order. Each may come again after a power cut."""

    ADMIT = "admit"  # look at the payload; nothing is changed
    INSTALL = "install"  # put it in place
    RESTART = "restart"  # the device, where the payload works only then
    CHECK = "check"  # whether it works
    COMMIT = "commit"  # it stays
    ROLL_BACK = "rollback"  # back to what was there before it


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be handled. The files of both folders must not be changed."""

    ref: ReleaseRef
    folder: Path  # with the payload's files
    before: Path | None  # with those of the release before; None: there was none
    commands: Commands = field(repr=False)
    noted: str = ""  # the end of what this handler gave for ``admit``

    def run(self, action: Action, command: tuple[str, ...], timeout: float) -> str:
        """Run a command of the owner for this payload; the folder is its last argument.

        Raises:
            HandlerError: it failed, is not there, or took longer than ``timeout`` seconds.
        """
        thing = f"command {action} of {self.ref.name} release {self.ref.version}"
        told = (*command, str(self.folder))
        return self.commands.run(thing, told, self.environment(action), timeout)

    def environment(self, action: Action) -> dict[str, str]:
        """What each command is told beside its arguments."""
        return {
            "EDGELOOP_ACTION": str(action),
            "EDGELOOP_NAME": self.ref.name,
            "EDGELOOP_CHANNEL": self.ref.channel,
            "EDGELOOP_VERSION": str(self.ref.version),
            "EDGELOOP_DIGEST": self.ref.digest,
            "EDGELOOP_FOLDER": str(self.folder),
            "EDGELOOP_BEFORE": str(self.before or ""),
            "EDGELOOP_NOTED": self.noted,
        }


class Handler(Protocol):
    """What a device does with payloads of one kind."""

    @property
    def takes(self) -> str:
        """The kind of payload, as a bundle's description names it."""

    @property
    def restarts(self) -> bool:
        """Whether a payload works only after the device was restarted."""

    @property
    def needs_before(self) -> bool:
        """Whether it goes back by the files of the release before, which are then checked first."""

    @property
    def check_seconds(self) -> float:
        """Between two checks."""

    @property
    def within_seconds(self) -> float:
        """So long a new payload has until its checks must have succeeded."""

    def do(self, action: Action, work: Work) -> str:
        """Do it, and give what was printed. Done twice it is as done once.

        Raises:
            HandlerError: it failed.
        """


def open_handler(told: Mapping[str, Any], where: str = "handler") -> Handler:
    """The handler that settings describe; ``kind`` names it.

    Raises:
        AgentFolderError: there is none of that kind, or its settings break a rule.
    """
    kind = told.get("kind")
    found = _classes().get(str(kind))
    if found is None:
        known = ", ".join(sorted(_classes()))
        raise AgentFolderError(f"{where}.kind", f"must be one of {known}", got=repr(kind))
    module, _, name = found.partition(":")
    try:
        handler: Handler = getattr(import_module(module), name).model_validate(dict(told))
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise AgentFolderError(place, "must be a setting", got=first["msg"]) from fault
    return handler


def _classes() -> dict[str, str]:
    return {one.name: one.value for one in entry_points(group=GROUP)} | OURS
