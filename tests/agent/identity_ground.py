"""A control plane, an operator and a fleet of one device, to try its keys on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent.world import Factory

from edgeloop.agent import enrolment
from edgeloop.agent.transport import Reply
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app
from edgeloop.fleet.settings import Settings
from edgeloop.protocol import keys
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport

URL = "http://control-plane"
HOUR = 3600.0


class PowerCut(BaseException):
    """Nothing of the device runs on behind it."""


@dataclass
class Wire:
    """The network; ``before`` and ``after`` a request to a path, something may happen."""

    inner: MemoryTransport
    before: Mapping[str, Callable[[], None]]
    after: Mapping[str, Callable[[], None]]

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        path = url.removeprefix(URL)
        self.before.get(path, lambda: None)()
        reply = self.inner.send(method, url, headers, body, max_bytes)
        self.after.get(path, lambda: None)()
        return reply


@dataclass
class Ground:
    """A control plane, an operator, and a fleet of one device."""

    client: FleetClient
    app: Any
    fleet: FakeFleet
    wire: Wire
    clock: FakeClock
    folder: Path
    root: bytes

    def key(self) -> str:
        """The fingerprint of the key on the device's disk."""
        return keys.fingerprint(keys.load_signer(self.folder / "device.pem").public_key())

    def heard(self) -> bool:
        """Whether the control plane listens to the device now."""
        before = self.client.device("d1").last_seen
        self.fleet.step(10)
        return self.client.device("d1").last_seen > before

    def changes(self) -> list[tuple[str, str]]:
        found = (one for one in self.client.audit() if one.action == "device.key_changed")
        return [(one.detail["from"], one.detail["to"]) for one in found]

    def enrol_again(self, **more: Any) -> None:
        enrolment.enrol(
            self.folder,
            server=URL,
            token=self.client.create_token(renews="d1").token,
            name="d1",
            model="sorter",
            root=self.root,
            transport=self.wire,
            clock=self.clock,
            **more,
        )


@contextmanager
def on_ground(
    tmp_path: Path, clock: FakeClock, factory: Factory, **of_device: Any
) -> Iterator[Ground]:
    """``of_device``: further settings of the one device, ``d1``."""
    settings = Settings(
        folder=tmp_path / "plane",
        repository=factory.repository.folder,
        layout=factory.store.folder,
        poll_seconds=1.0,
    )
    app = create_app(settings, clock)
    token = (tmp_path / "plane" / "operator.token").read_text().strip()
    with MemoryTransport(app) as inner:

        def ask(
            method: str, url: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, bytes]:
            reply = inner.send(method, url, headers, body, 1 << 24)
            return reply.status, b"".join(reply.chunks)

        client, wire = FleetClient(URL, token, ask), Wire(inner, {}, {})
        root = factory.repository.root()
        home = Home(server=URL, model="sorter", root=root)
        fleet = FakeFleet(tmp_path / "fleet", home, wire, clock)
        with fleet:
            fleet.add("d1", client.create_token().token, **of_device)
            yield Ground(client, app, fleet, wire, clock, tmp_path / "fleet" / "d1", root)
