"""What a device follows beside its model, through a real control plane, with real commands."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agent.world import Factory

from edgeloop import durable
from edgeloop.agent import own_conditions
from edgeloop.agent.agent import Agent
from edgeloop.agent.handlers import open_handler
from edgeloop.agent.handlers.script import Script
from edgeloop.agent.readings import Readings
from edgeloop.errors import AgentFolderError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.protocol.messages import ReleaseRef, RolloutPlan
from edgeloop.release.payloads import PayloadInfo, keep
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport

URL = "http://control-plane"
# what the owner of the device has set: a program that does as a file beside it says
PROGRAM = """
import os, pathlib, sys
place, action, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
version = (folder / "firmware.bin").read_text()
with (place / "log").open("a") as log:
    log.write(f"{action} {version} before={bool(os.environ['EDGELOOP_BEFORE'])}\\n")
if (place / f"fails-{action}-{version}").exists():
    sys.exit(f"no {action} of {version} here")
if action == "install":
    (place / "installed").write_text(version)
if action == "rollback":
    before = os.environ["EDGELOOP_BEFORE"]
    old = pathlib.Path(before, "firmware.bin").read_text() if before else "factory"
    (place / "installed").write_text(old)
"""


PLAN = RolloutPlan(soak_seconds=0, min_answers=2, deadline_seconds=600)


@dataclass
class Gateway:
    """One device that follows its model and a firmware."""

    factory: Factory
    fleet: FakeFleet
    client: FleetClient
    app: Any
    owner: Path
    boot: list[str]

    @property
    def agent(self) -> Agent:
        return self.fleet.agents["gate-1"]

    def release(self, version: str, kind: Any = "firmware") -> ReleaseRef:
        file = self.owner / "firmware.bin"
        file.write_text(version)
        info = PayloadInfo(name="gateway-os", payload=kind)
        bundle = keep(self.factory.store, info, [file])
        manifest = self.factory.store.layout.read(bundle.digest)
        return self.factory.repository.publish(
            manifest, name="gateway-os", channel="stable", plan=PLAN, needs=info.needs
        )

    def roll_out(self, ref: ReleaseRef) -> int:
        return self.client.create_rollout(ref.name, ref.channel, ref.version).id

    def until_over(self, rollout: int) -> str:
        def over() -> bool:
            tick(self.app)
            return self.client.rollout(rollout).state in {"finished", "stopped"}

        self.fleet.until(over)
        self.fleet.step()
        return str(self.client.rollout(rollout).state)

    def log(self) -> list[str]:
        return (self.owner / "log").read_text().splitlines()

    @property
    def installed(self) -> str:
        return (self.owner / "installed").read_text()

    def restart(self, *, boot: str | None = None) -> None:
        """As after a power cut; with a name, the device itself was restarted."""
        self.boot += [boot] if boot else []
        self.fleet.cut_power("gate-1")
        self.fleet.start("gate-1")

    def told(self) -> Any:
        report = self.client.devices()[0].report
        assert report is not None
        return report.also[0]


def commands(place: Path, *names: str) -> dict[str, list[str]]:
    return {name: [sys.executable, str(place / "owner.py"), str(place), name] for name in names}


@pytest.fixture
def gateway(tmp_path: Path, factory: Factory) -> Iterator[Gateway]:
    yield from made(tmp_path, factory, "install", "check", "commit", "rollback")


@pytest.fixture
def restarting(tmp_path: Path, factory: Factory) -> Iterator[Gateway]:
    yield from made(tmp_path, factory, "install", "restart", "check", "commit", "rollback")


def made(tmp_path: Path, factory: Factory, *actions: str) -> Iterator[Gateway]:
    clock, owner, boot = FakeClock(time.time()), tmp_path / "owner", ["boot 1"]
    owner.mkdir()
    (owner / "owner.py").write_text(PROGRAM)
    (owner / "installed").write_text("factory")
    told = Settings(
        folder=tmp_path / "plane",
        repository=factory.repository.folder,
        layout=factory.store.folder,
        poll_seconds=1,
        tick_seconds=3600,
    )
    app = create_app(told, clock)
    transport = MemoryTransport(app)

    def operate(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        reply = transport.send(method, url, headers, body, 1 << 24)
        return reply.status, b"".join(reply.chunks)

    home = Home(server=URL, model="sorter", root=factory.repository.root())
    handler = {"kind": "script", "takes": "firmware", "check_seconds": 1, "within_seconds": 20}
    handler |= commands(owner, *actions)
    places = (tmp_path / "fleet", home, transport, clock)
    with transport, FakeFleet(*places, boot=lambda: boot[-1]) as fleet:
        client = FleetClient(URL, told.token_file.read_text().strip(), operate)
        token = client.create_token({}).token
        follows = [{"name": "gateway-os", "handler": handler}]
        fleet.add("gate-1", token, follows=follows)
        gateway = Gateway(factory, fleet, client, app, owner, boot)
        fleet.step()
        fleet.step()
        yield gateway


def test_a_payload_goes_through_the_same_states_as_a_model(gateway: Gateway) -> None:
    rollout = gateway.roll_out(gateway.release("one"))
    assert gateway.until_over(rollout) == "finished"
    assert gateway.installed == "one"
    lines = ["install one", "check one", "check one", "commit one"]
    assert gateway.log() == [f"{line} before=False" for line in lines]
    told = gateway.told()
    assert (told.state, told.checks, told.kind) == ("committed", 2, "firmware")
    states = [
        line.detail["to"]
        for line in gateway.client.audit()
        if line.action == "device.state" and line.detail.get("of") == "gateway-os"
    ]
    assert states[-2:] == ["probation", "committed"]


def test_a_payload_whose_checks_fail_is_rolled_back_and_says_why(gateway: Gateway) -> None:
    gateway.until_over(gateway.roll_out(gateway.release("one")))
    (gateway.owner / "fails-check-two").touch()
    rollout = gateway.roll_out(gateway.release("two"))
    assert gateway.until_over(rollout) == "stopped"
    assert gateway.installed == "one"
    assert gateway.log()[-1] == "rollback two before=True"
    job = gateway.client.rollout(rollout).jobs[0]
    assert job.reason == (
        "FAILED_ROLLBACK_COMPLETE: its checks did not succeed within 20 s: [E513] command check of"
        " gateway-os release 2 must end with status 0, got 1. It said: no check of two here"
    )
    told = gateway.told()
    assert (told.state, told.running.version) == ("rolled back", 1)


def test_an_install_that_fails_is_undone_at_once(gateway: Gateway) -> None:
    (gateway.owner / "fails-install-one").touch()
    assert gateway.until_over(gateway.roll_out(gateway.release("one"))) == "stopped"
    assert gateway.installed == "factory"
    assert gateway.log() == ["install one before=False", "rollback one before=False"]
    assert gateway.told().running is None


def test_a_device_that_cannot_go_back_says_so(gateway: Gateway) -> None:
    (gateway.owner / "fails-install-one").touch()
    (gateway.owner / "fails-rollback-one").touch()
    rollout = gateway.roll_out(gateway.release("one"))
    assert gateway.until_over(rollout) == "stopped"
    assert gateway.client.rollout(rollout).jobs[0].reason.startswith("FAILED_UNABLE_TO_ROLLBACK: ")
    assert gateway.told().state == "failed"
    (gateway.owner / "fails-rollback-one").unlink()
    gateway.restart()
    gateway.fleet.step()
    assert gateway.installed == "factory"  # each start tries it again


def test_a_payload_of_another_kind_is_refused_before_a_byte_is_fetched(gateway: Gateway) -> None:
    ref = gateway.release("one", kind="container")
    rollout = gateway.roll_out(ref)
    assert gateway.until_over(rollout) == "finished"
    job = gateway.client.rollout(rollout).jobs[0]
    assert (str(job.state), job.reason) == ("REJECTED", "it has no payload.container")
    assert not (gateway.owner / "log").exists()


def test_firmware_is_checked_behind_the_restart_of_the_device(restarting: Gateway) -> None:
    restarting.roll_out(restarting.release("one"))
    for _ in range(8):
        restarting.fleet.step()
    assert restarting.log() == ["install one before=False", "restart one before=False"]
    restarting.restart(boot="boot 2")
    for _ in range(8):
        restarting.fleet.step()
    assert [line.split()[0] for line in restarting.log()[2:]] == ["check", "check", "commit"]
    assert restarting.told().state == "committed"


def test_firmware_that_fails_behind_a_restart_goes_back_behind_another(
    restarting: Gateway,
) -> None:
    (restarting.owner / "fails-check-one").touch()
    rollout = restarting.roll_out(restarting.release("one"))
    for _ in range(5):
        restarting.fleet.step()
    restarting.restart(boot="boot 2")
    for _ in range(30):
        restarting.fleet.step()
    done = [line.split()[0] for line in restarting.log() if "check" not in line]
    assert done == ["install", "restart", "rollback", "restart"]
    assert restarting.told().state == "probation"  # until it runs the old one
    restarting.restart(boot="boot 3")
    assert restarting.until_over(rollout) == "stopped"
    assert "its checks did not succeed" in restarting.client.rollout(rollout).jobs[0].reason
    assert restarting.told().state == "rolled back"
    assert restarting.log()[-1] == "restart one before=False"


def test_firmware_that_never_comes_to_an_end_goes_back_by_counted_starts(
    restarting: Gateway,
) -> None:
    restarting.roll_out(restarting.release("one"))
    for _ in range(5):
        restarting.fleet.step()
    for number in range(2, 6):  # each start ends before its first check
        restarting.restart(boot=f"boot {number}")
        restarting.fleet.agents["gate-1"].tick()
    done = [line.split()[0] for line in restarting.log() if "check" not in line]
    assert "rollback" in done
    outcome = restarting.told().outcome
    restarting.fleet.step()
    outcome = restarting.told().outcome
    assert outcome.reason == "did not come to an end in 3 starts"


def test_a_power_cut_in_an_install_is_undone_and_the_payload_tried_again(gateway: Gateway) -> None:
    gateway.until_over(gateway.roll_out(gateway.release("one")))
    rollout = gateway.roll_out(gateway.release("two"))
    real = Script.do

    def cut(self: Script, action: Any, work: Any) -> str:
        if str(action) == "install":
            raise KeyboardInterrupt
        return real(self, action, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Script, "do", cut)
        with pytest.raises(KeyboardInterrupt):
            gateway.until_over(rollout)
    gateway.restart()
    assert gateway.until_over(rollout) == "finished"
    assert gateway.installed == "two"
    assert "rollback two before=True" in gateway.log()


def cut_at(number: int, patch: pytest.MonkeyPatch) -> list[int]:
    """Cut the power before the so-many-th write of the device or command of its owner."""
    seen = [0]

    def counted(real: Any) -> Any:
        def call(*told: Any, **more: Any) -> Any:
            seen[0] += 1
            if seen[0] == number:
                raise KeyboardInterrupt
            return real(*told, **more)

        return call

    patch.setattr(Script, "do", counted(Script.do))
    patch.setattr(durable, "write", counted(durable.write))
    patch.setattr(durable, "settle", counted(durable.settle))
    return seen


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.hard)])
def test_a_power_cut_before_a_write_or_command_leaves_an_update_that_ends_well(
    gateway: Gateway, step: int
) -> None:
    number, uncut = 0, False
    while not uncut:
        number += 1
        rollout = gateway.roll_out(gateway.release(f"v{number}"))
        with pytest.MonkeyPatch.context() as patch:
            seen = cut_at(1 + (number - 1) * step, patch)
            with contextlib.suppress(KeyboardInterrupt):
                gateway.until_over(rollout)
            uncut = seen[0] < 1 + (number - 1) * step
        if not uncut:
            gateway.restart()
        assert gateway.until_over(rollout) == "finished"
        assert gateway.installed == f"v{number}"
        assert gateway.told().running.version == number
        assert not list((gateway.owner.parent / "fleet").rglob("handed.json"))
    assert number * step > 15
    print(f"payload: power cuts {number - 1}, updates that did not end well 0")


def test_a_clean_end_keeps_how_long_a_payload_has_waited(gateway: Gateway) -> None:
    device = gateway.fleet._folder / "gate-1"
    own_conditions.change(device, {"charging": True})
    gateway.fleet.readings = Readings(charging=False)
    gateway.roll_out(gateway.release("one"))
    for _ in range(3):
        gateway.fleet.step()
    assert gateway.told().waiting == "power from outside"
    gateway.fleet._clock.sleep(50)
    gateway.fleet.agents.pop("gate-1").close()
    (kept,) = (path for path in device.rglob("progress.json") if path.parent != device)
    assert json.loads(kept.read_text())["waited"] >= 50


def test_a_device_follows_each_thing_once(gateway: Gateway) -> None:
    path = gateway.owner.parent / "fleet" / "gate-1" / "agent.json"
    told = json.loads(path.read_text())
    gateway.fleet.cut_power("gate-1")
    path.write_text(json.dumps(told | {"follows": told["follows"] * 2}))
    with pytest.raises(AgentFolderError) as caught:
        gateway.fleet.start("gate-1")
    rule = "must name each thing once, and not the model"
    assert str(caught.value) == f"[E504] follows {rule}, got gateway-os"


def test_a_handler_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentFolderError) as caught:
        open_handler({"kind": "flash"}, "follows.gateway-os")
    assert str(caught.value) == (
        "[E504] follows.gateway-os.kind must be one of agent, container, rauc, script,"
        " swupdate, got 'flash'"
    )
    with pytest.raises(AgentFolderError) as caught:
        open_handler({"kind": "script", "install": ["true"]}, "follows.gateway-os")
    assert str(caught.value) == (
        "[E504] follows.gateway-os.rollback must be a setting, got Field required"
    )
