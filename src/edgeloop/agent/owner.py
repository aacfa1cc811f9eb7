"""What whoever stands at a device decides there, whether its agent runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.agent import asked, gate, own_conditions, settings
from edgeloop.agent.asked import Asked
from edgeloop.agent.slots import Slots
from edgeloop.agent.states import Ledger
from edgeloop.errors import OverrideError
from edgeloop.quantities import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeloop.clock import Clock
    from edgeloop.types import Json


def postpone(folder: Path, seconds: float, clock: Clock) -> Json:
    """Say "not now" to the update that is on its way; 0: now after all.

    Raises:
        PostponeError: there is none that may wait, or not for so long.
        AgentFolderError: the folder was not enrolled, or is broken.
    """
    settings.read(folder)
    now, current = Ledger(folder / "progress.json").now, Slots(folder).now.current
    back = now.trying is not None and current is not None and now.trying.version < current.version
    elapsed = max(now.waited or 0.0, clock.now() - now.waits_since if now.waits_since else 0.0)
    gate.check_postponement(now, gate.longest(now, elapsed, back=back), seconds)
    asked.put(folder, Asked(postpone=seconds))
    return {"postponed_seconds": seconds, "version": now.trying and now.trying.version}


def retry(folder: Path) -> Json:
    """Let a running agent, or the next one, try again what failed, and rest no longer.

    Raises:
        AgentFolderError: the folder was not enrolled, or is broken.
    """
    settings.read(folder)
    asked.put(folder, Asked(retry=True))
    return {"tries_again": sorted(Slots(folder).now.failed)}


def conditions(folder: Path, told: Iterable[str] = ()) -> Json:
    """Change the device's own conditions by ``name=value`` each, and tell all of them.

    A value that is empty takes one away. ``hours`` and ``days`` may be several, between commas.

    Raises:
        OverrideError: one is not written so.
        AgentFolderError: the folder was not enrolled, is broken, or these are not possible.
    """
    settings.read(folder)
    changes = dict(_parted(text) for text in told)
    own = own_conditions.change(folder, changes) if changes else own_conditions.read(folder)
    return own.model_dump(mode="json", exclude_unset=True)


def _parted(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not (separator and name):
        raise OverrideError("condition", "must be name=value", got=repr(text))
    if not value:
        return name, None
    if name in {"hours", "days"}:
        return name, tuple(value.split(","))
    return name, _size(value) if name == "bandwidth" else value


def _size(value: str) -> object:
    """Bytes; what is no size is refused with the other conditions."""
    try:
        return value if value.isdecimal() else parse_size(value)
    except ValueError:
        return value
