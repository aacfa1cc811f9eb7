"""A control plane in memory, with devices that sign and an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.protocol import keys
from edgeloop.protocol.messages import (
    VERSION_HEADER,
    ChannelList,
    Enrol,
    Group,
    Listed,
    Message,
    ReleaseRef,
    RolloutPlan,
)
from edgeloop.protocol.signatures import sign
from edgeloop.testing.clock import FakeClock

if TYPE_CHECKING:
    import httpx2 as httpx

URL = "http://plane"


def digest(version: int) -> str:
    return "sha256:" + f"{version:064x}"


def plan(*groups: Group, **changed: Any) -> RolloutPlan:
    figures: dict[str, Any] = {"soak_seconds": 10, "deadline_seconds": 100, "min_answers": 20}
    return RolloutPlan(groups=groups or (Group(select="all"),), **(figures | changed))


@dataclass
class Device:
    """Signs requests as an agent does, and says what it is told to."""

    bench: Bench
    name: str
    key: keys.Signer = field(default_factory=keys.generate)
    moves: int = 0
    version_header: str | None = "1"
    known_as: str = ""  # the id that it was given, where that is not of this key

    @property
    def id(self) -> str:
        return self.known_as or keys.fingerprint(self.key.public_key())

    def request(self, method: str, path: str, body: bytes = b"", **changed: str) -> httpx.Request:
        headers = {"Content-Type": "application/json"}
        if self.version_header is not None:
            headers[VERSION_HEADER] = self.version_header
        headers |= changed
        now = self.bench.clock.now()
        signed = sign(self.key, self.id, method, URL + path, headers, body, now)
        return self.bench.http.build_request(method, path, content=body, headers=headers | signed)

    def send(self, method: str, path: str, message: Message | None = None, **headers: str) -> Any:
        body = message.model_dump_json().encode() if message else b""
        return self.bench.http.send(self.request(method, path, body, **headers))

    def enrol(self, token: str, **changed: Any) -> Any:
        figures = {"model": "sorter", "labels": {}, "target": "linux-x86", "runtimes": ("onnx",)}
        figures |= changed
        message = Enrol(
            token=token,
            name=figures.pop("name", self.name),
            public_key=keys.public_pem(self.key.public_key()),
            **figures,
        )
        return self.send("POST", "/v1/enrol", message)

    def desired(self, **headers: str) -> Any:
        return self.send("GET", "/v1/desired", **headers)

    def report(self, **said: Any) -> Any:
        """``running`` may be a version."""
        self.moves += 1
        said = {"moves": self.moves, "state": "idle", "target": "linux-x86"} | said
        if isinstance(said.get("running"), int):
            said["running"] = ref(said["running"]).model_dump()
        return self.send("POST", "/v1/report", Raw(said=said))

    def runs(self, version: int, answers: int = 50, name: str = "sorter") -> None:
        running = ref(version, name).model_dump()
        reply = self.report(running=running, answers_since_switch=answers)
        assert reply.status_code == 200, reply.text

    def fails(self, version: int, rollout: int, result: str = "FAILED_ROLLBACK_COMPLETE") -> None:
        outcome = {
            "digest": digest(version),
            "rollout": rollout,
            "result": result,
            "reason": "disagreement 0.400 is above the limit 0.080",
            "evidence": {"disagreement": 0.4},
        }
        reply = self.report(running=version - 1, state="idle", outcome=outcome)
        assert reply.status_code == 200, reply.text


class Raw(Message):
    """Any JSON, so that wrong messages can be sent too."""

    said: Mapping[str, Any]

    def model_dump_json(self, **_options: Any) -> str:
        import json

        return json.dumps(self.said)


def ref(version: int, name: str = "sorter", channel: str = "stable") -> ReleaseRef:
    return ReleaseRef(name=name, channel=channel, version=version, digest=digest(version))


class Bench:
    """One control plane in one folder, restarted at will."""

    def __init__(self, folder: Path, clock: FakeClock, database: str = "") -> None:
        self.folder, self.clock, self.database = folder, clock, database
        self.floor = 1
        self.lists: dict[tuple[str, str], list[Listed]] = {}
        self.app: FastAPI | None = None
        self.restart()

    def restart(self) -> None:
        self.close()
        settings = Settings(
            folder=self.folder,
            repository=self.folder / "repository",
            layout=self.folder / "layout",
            database=self.database,
            poll_seconds=1.0,
            tick_seconds=0.01,
        )
        self.url = settings.database_url
        self.app = create_app(settings, self.clock, self.listing)
        self.http = TestClient(self.app, base_url=URL)
        token = settings.token_file.read_text().strip()
        self.operator = FleetClient(URL, token, self.transport)

    def close(self) -> None:
        if self.app is not None:
            self.app.state.plane.database.close()

    def transport(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        reply = self.http.request(method, url, headers=dict(headers), content=body)
        return reply.status_code, reply.content

    def listing(self, name: str, channel: str) -> ChannelList:
        lines = tuple(self.lists.get((name, channel), []))
        return ChannelList(name=name, channel=channel, floor=self.floor, releases=lines)

    def list_release(
        self, version: int, plan_of: RolloutPlan | None = None, name: str = "sorter", **changed: Any
    ) -> Listed:
        line = Listed(
            version=version, digest=digest(version), size=10, plan=plan_of or plan(), **changed
        )
        self.lists.setdefault((name, "stable"), []).append(line)
        return line

    def device(self, name: str, *, model: str | None = "sorter", **labels: str) -> Device:
        """``model`` None: by an older agent, which does not say it."""
        device = Device(self, name)
        reply = device.enrol(self.operator.create_token(labels).token, model=model)
        assert reply.status_code == 200, reply.text
        return device

    def go(self, version: int, name: str = "sorter", **changed: Any) -> int:
        return self.operator.create_rollout(name, "stable", version, **changed).id

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.sleep(seconds)
        tick(self.app)

    def states(self, rollout: int) -> dict[str, str]:
        return {job.device_name: str(job.state) for job in self.operator.rollout(rollout).jobs}

    def actions(self, prefix: str = "") -> list[str]:
        return [line.action for line in self.operator.audit() if line.action.startswith(prefix)]


def message(reply: Any) -> str:
    text: str = reply.json()["error"]["message"]
    return text
