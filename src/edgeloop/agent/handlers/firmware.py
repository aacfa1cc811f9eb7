"""What handlers of firmware share: the one file, and what only the owner knows of the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgeloop.agent.handlers import Action, Work
from edgeloop.agent.handlers.settings import Command, HandlerSettings
from edgeloop.errors import HandlerError

if TYPE_CHECKING:
    from pathlib import Path

REBOOT = ("systemctl", "reboot")
DESCRIPTION = "description.json"


class Firmware(HandlerSettings):
    """Put in the place that the device does not run from; works behind a restart."""

    takes: Literal["firmware"] = "firmware"
    restart: Command = REBOOT
    check: Command = ()

    @property
    def restarts(self) -> bool:
        """Whether there is a command for it."""
        return bool(self.restart)

    @property
    def needs_before(self) -> bool:
        """What ran before is in the place that was not written."""
        return False

    def own(self, action: Action, work: Work) -> str:
        """The owner's command for it; the payload's folder is its last argument."""
        command: Command = {Action.RESTART: self.restart, Action.CHECK: self.check}.get(action, ())
        return work.run(action, command, self.timeout_seconds) if command else ""

    def tool(self, action: Action, work: Work, command: Command) -> str:
        """A command of the updater's, as it is."""
        thing = f"command {action} of {work.ref.name} release {work.ref.version}"
        environment = work.environment(action)
        return work.commands.run(thing, command, environment, self.timeout_seconds)


def only_file(work: Work, ending: str = "") -> Path:
    """The payload's one file, with that ending.

    Raises:
        HandlerError: there are several, or none.
    """
    named = [one for one in work.folder.iterdir() if one.name != DESCRIPTION]
    found = sorted(one for one in named if one.name.endswith(ending))
    if len(found) != 1:
        got = ", ".join(sorted(one.name for one in named)) or "none"
        rule = f"must have one file {f'*{ending}' if ending else ''}".strip()
        raise HandlerError(f"{work.ref.name} release {work.ref.version}", rule, got=got)
    return found[0]
