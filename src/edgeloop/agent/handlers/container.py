"""A container image by podman, docker or nerdctl: loaded, named, started by the owner's command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgeloop.agent.handlers import Action, Work
from edgeloop.agent.handlers.firmware import only_file
from edgeloop.agent.handlers.settings import Command, HandlerSettings

if TYPE_CHECKING:
    from pathlib import Path


class Container(HandlerSettings):
    """The image gets the name ``image``; ``start`` makes the container of that name's image anew.

    An image is found again by its own id, so that going back needs nothing but the names: each
    release's image is also named ``image`` with its digest as tag.
    """

    kind: Literal["container"] = "container"
    takes: Literal["container"] = "container"
    program: Command = ("podman",)
    image: str = Field(pattern=r"^[a-z0-9][a-z0-9./_-]*$")  # without a tag
    start: Command  # such as: systemctl restart app.service
    check: Command = ()

    @property
    def restarts(self) -> bool:
        """A container starts without the device."""
        return False

    @property
    def needs_before(self) -> bool:
        """The image of the release before has its name already."""
        return False

    def do(self, action: Action, work: Work) -> str:
        """Load and start, check, or start what was there before."""
        if action is Action.INSTALL:
            return self._install(work)
        if action is Action.CHECK and self.check:
            return work.run(action, self.check, self.timeout_seconds)
        if action is Action.ROLL_BACK:
            return self._back(work)
        if action is Action.ADMIT:
            only_file(work)
        return ""

    def _install(self, work: Work) -> str:
        said = self._ask(Action.INSTALL, work, "load", "-i", str(only_file(work)))
        loaded = said.split()[-1] if said else ""
        self._ask(Action.INSTALL, work, "tag", loaded, self._of(work.folder))
        return self._show(Action.INSTALL, work, work.folder)

    def _back(self, work: Work) -> str:
        """Where there was none before, the name goes, and what was started stays to the owner."""
        if work.before is None:
            return self._ask(Action.ROLL_BACK, work, "untag", f"{self.image}:current")
        return self._show(Action.ROLL_BACK, work, work.before)

    def _show(self, action: Action, work: Work, folder: Path) -> str:
        self._ask(action, work, "tag", self._of(folder), f"{self.image}:current")
        return work.run(action, self.start, self.timeout_seconds)

    def _of(self, folder: Path) -> str:
        return f"{self.image}:{folder.parent.name}"

    def _ask(self, action: Action, work: Work, *words: str) -> str:
        thing = f"command {action} of {work.ref.name} release {work.ref.version}"
        told = (*self.program, *words)
        return work.commands.run(thing, told, work.environment(action), self.timeout_seconds)
