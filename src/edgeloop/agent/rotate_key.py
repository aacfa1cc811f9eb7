"""Give an enrolled device whose agent does not run a new key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.agent import held, identity, key_places, settings
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.transport import Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock

if TYPE_CHECKING:
    from pathlib import Path


def of_folder(folder: Path, transport: Transport | None = None, clock: Clock | None = None) -> str:
    """Rotate, or end a rotation that was cut off; gives the new key's fingerprint.

    Asks once with the new key, so that the old one is none.

    Raises:
        AgentFolderError: not enrolled, or an agent runs in it.
        KeyPlaceError, KeyFileError: no key can be made or kept.
        UnauthorizedError, UnreachableError: the control plane did not take it.
    """
    told = settings.read(folder)
    wire = transport or _wire(folder, told)
    with held.hold(folder):
        key = key_places.key_of(told.key, folder)
        plane = ControlPlane(told.server, key, told.device, wire, clock or SystemClock())
        made = identity.rotate(key_places.place(told.key, folder), plane, told.device)
        plane.desired()
    return made


def _wire(folder: Path, told: settings.Settings) -> Transport:
    return Urllib3Transport(told.server, settings.authority(folder), folder / settings.CLIENT)
