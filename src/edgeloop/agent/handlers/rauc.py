"""Firmware by RAUC: its own signatures, slots and bootloader; one ``*.raucb`` per release."""

from __future__ import annotations

import json
from typing import Literal

from edgeloop.agent.handlers import Action, Work
from edgeloop.agent.handlers.firmware import Firmware, only_file
from edgeloop.agent.handlers.settings import Command
from edgeloop.errors import HandlerError


class Rauc(Firmware):
    """RAUC's commands for all but restart and what the owner's ``check`` looks at.

    Which of RAUC's slots is booted before is noted, so that a bootloader that went back by itself
    is seen, and what is marked as bad is the new one whichever runs.
    """

    kind: Literal["rauc"] = "rauc"
    program: Command = ("rauc",)

    def do(self, action: Action, work: Work) -> str:
        """Ask RAUC, or the owner's own command."""
        if action is Action.ADMIT:
            self._ask(action, work, "info", str(only_file(work, ".raucb")))
            return self._booted(action, work)
        if action is Action.INSTALL:
            return self._ask(action, work, "install", str(only_file(work, ".raucb")))
        if action is Action.CHECK:
            return self._check(work)
        if action is Action.COMMIT:
            return self._ask(action, work, "status", "mark-good", "booted")
        if action is Action.ROLL_BACK:
            return self._back(work)
        return self.own(action, work)

    def _check(self, work: Work) -> str:
        booted = self._booted(Action.CHECK, work)
        if booted == work.noted:
            thing = f"{work.ref.name} release {work.ref.version}"
            raise HandlerError(thing, "must be what the device booted", got=f"{booted}, as before")
        return self.own(Action.CHECK, work)

    def _back(self, work: Work) -> str:
        action = Action.ROLL_BACK
        new, old = ("booted", "other")
        if self._booted(action, work) == work.noted:
            new, old = old, new
        self._ask(action, work, "status", "mark-bad", new)
        return self._ask(action, work, "status", "mark-active", old)

    def _booted(self, action: Action, work: Work) -> str:
        said = self._ask(action, work, "status", "--output-format=json")
        try:
            told, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])  # behind its log
            return str(told["booted"])
        except (ValueError, KeyError, TypeError) as fault:
            rule = "must say which slot is booted"
            raise HandlerError("rauc status", rule, got=said[:200]) from fault

    def _ask(self, action: Action, work: Work, *words: str) -> str:
        return self.tool(action, work, (*self.program, *words))
