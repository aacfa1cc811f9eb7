"""Firmware by SWUpdate: one ``*.swu`` per release, into the copy that does not run."""

from __future__ import annotations

from typing import Literal

from edgeloop.agent.handlers import Action, Work
from edgeloop.agent.handlers.firmware import Firmware, only_file
from edgeloop.agent.handlers.settings import Command


class Swupdate(Firmware):
    """``swupdate -c -i`` looks, ``swupdate -i`` installs; keys and the copy to write are options.

    Which copy starts is the bootloader's matter: the owner's ``commit`` and ``rollback`` say it, as
    ``fw_setenv ustate 0``.
    """

    kind: Literal["swupdate"] = "swupdate"
    program: Command = ("swupdate",)  # with options, as -k and -e
    commit: Command
    rollback: Command

    def do(self, action: Action, work: Work) -> str:
        """Ask SWUpdate, or the owner's own command."""
        if action is Action.ADMIT:
            return self.tool(action, work, (*self.program, "-c", "-i", _file(work)))
        if action is Action.INSTALL:
            return self.tool(action, work, (*self.program, "-i", _file(work)))
        if action is Action.COMMIT:
            return work.run(action, self.commit, self.timeout_seconds)
        if action is Action.ROLL_BACK:
            return work.run(action, self.rollback, self.timeout_seconds)
        return self.own(action, work)


def _file(work: Work) -> str:
    return str(only_file(work, ".swu"))
