"""What everything on one device shares, and what each thing that it follows is built with."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.agent import backoff, settings
from edgeloop.agent.beside import Observer
from edgeloop.agent.gate import Gate, GateParts, PausedError
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.readings import Reader, Readings
from edgeloop.agent.sources import Server, source
from edgeloop.agent.states import Ledger
from edgeloop.agent.transport import Pace, Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.release import seen, trusted_time

if TYPE_CHECKING:
    from edgeloop.agent.admission import Timer
    from edgeloop.agent.allowed import SignedList
    from edgeloop.agent.control_plane import ControlPlane
    from edgeloop.agent.hooks import Hooks
    from edgeloop.agent.notices import Notices
    from edgeloop.agent.running import Running
    from edgeloop.agent.settings import Settings
    from edgeloop.agent.slots import Slots

UNPACED = Pace(bytes_per_second=0)  # the mirrors see to it, each place by itself


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a test replaces: the network, the clocks and chance."""

    transport: Transport
    clock: Clock
    timer: Timer = time.perf_counter
    draw: backoff.Draw = random.random
    readings: Callable[[], Readings] = field(default_factory=lambda: Reader().read)
    boot: Callable[[], str] = trusted_time.boot_id


def surroundings(folder: Path, told: Settings) -> Surroundings:
    """The real ones of an enrolled folder."""
    wire = Urllib3Transport(told.server, settings.authority(folder), folder / settings.CLIENT)
    return Surroundings(transport=wire, clock=SystemClock())


@dataclass(frozen=True, kw_only=True)
class Home:
    """One device."""

    folder: Path
    told: Settings
    around: Surroundings
    plane: ControlPlane
    hooks: Hooks
    notices: Notices
    running: Running

    def ledger(self, folder: Path) -> Ledger:
        """Where the update in ``folder`` stands; hooks and notices hear of its moves."""
        observer = Observer(self.hooks, self.notices, self.around.clock)
        return Ledger(folder / "progress.json", observer)

    def gate(self, ledger: Ledger, slots: Slots) -> Gate:
        """The conditions of the device hold for everything that it follows."""
        return Gate(
            GateParts(
                folder=self.folder,
                ledger=ledger,
                slots=slots,
                clock=self.around.clock,
                readings=self.around.readings,
                certain=self._certain,
                hooks=self.hooks,
                notices=self.notices,
            )
        )

    def channel(self, folder: Path, name: str, channel: str) -> SignedList:
        """The signed list of what ``name`` may be here; its metadata lies in ``folder``."""
        from edgeloop.release.client import Channel  # python-tuf, which an idle agent need not hold

        return Channel(
            folder / "tuf",
            (self.folder / settings.ROOT).read_bytes(),
            self.plane.fetch,
            f"{self.told.repository_url}/metadata/",
            f"{self.told.repository_url}/targets/",
            name,
            channel,
            clock=self.around.clock,
        )

    def mirrors(self, gate: Gate, alive: Callable[[], None]) -> Mirrors:
        """Where blobs come from, as slowly as ``gate`` says; ``alive`` hears of each piece."""
        told, around = self.told, self.around
        server = Server(
            name=told.server,
            read=lambda digest, *part: self.plane.read_from(told.blob_url(digest), *part),
        )

        def came(size: int) -> None:
            alive()
            gate.came(size)
            if self.running.stop.is_set():
                raise PausedError

        mirrors = [source(address, around.transport) for address in told.mirrors]
        return Mirrors(mirrors, server, around.clock, told.pace, came=came, limit=gate.bandwidth)

    def _certain(self) -> float:
        """A Unix time that has passed for certain, whatever the clock says."""
        known = seen.load(self.folder / "tuf" / "seen.json")
        powered = known.now(self.around.clock.monotonic(), trusted_time.boot_id())
        return max(trusted_time.released(), powered)
