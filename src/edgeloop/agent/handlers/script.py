"""Commands of the owner's own: the handler for whatever no other one knows."""

from __future__ import annotations

from typing import Literal

from edgeloop.agent.handlers import Action, Work
from edgeloop.agent.handlers.settings import Command, HandlerSettings
from edgeloop.release.payloads import PayloadKind


class Script(HandlerSettings):
    """One command per action; an action without a command is done by doing nothing."""

    kind: Literal["script"] = "script"
    takes: PayloadKind = "script"
    install: Command
    admit: Command = ()
    restart: Command = ()
    check: Command = ()
    commit: Command = ()
    rollback: Command

    @property
    def restarts(self) -> bool:
        """Whether there is a command for it."""
        return bool(self.restart)

    def do(self, action: Action, work: Work) -> str:
        """Run the command, with the payload's folder as its last argument."""
        command: Command = getattr(self, action)
        return work.run(action, command, self.timeout_seconds) if command else ""
