"""Bytes around a payload: what is handed over is whole, and what commands print harms nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent import test_payloads
from tests.agent.test_payloads import Gateway, made
from tests.agent.world import Factory

from edgeloop.agent.commands import Commands
from edgeloop.agent.handlers import open_handler
from edgeloop.errors import HandlerError

ROT = "rot"


@pytest.fixture
def gateway(tmp_path: Path, factory: Factory) -> Iterator[Gateway]:
    yield from made(tmp_path, factory, "install", "check", "commit", "rollback")


@pytest.fixture
def noisy(tmp_path: Path, factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Whose ``admit`` prints control characters, as ``strings`` and ``fw_printenv`` do."""
    lines = 'if action == "admit":\n    print("image\\0name \\x1b[1m2")\n'
    monkeypatch.setattr(test_payloads, "PROGRAM", test_payloads.PROGRAM + lines)
    yield from made(tmp_path, factory, "admit", "install", "check", "commit", "rollback")


def rot(gateway: Gateway, version: str) -> str:
    """Break that release's file in its slot; gives what is said of it."""
    slots = (gateway.owner.parent / "fleet").rglob("also/gateway-os/slots/*/files/firmware.bin")
    (file,) = [path for path in slots if path.read_text() == version]
    file.chmod(0o644)
    file.write_text(ROT)
    was, now = (hashlib.sha256(text.encode()).hexdigest() for text in (version, ROT))
    return (
        "[E513] gateway-os release 1 must be whole to be handed over, got [E404] file firmware.bin"
        f" of bundle sha256:{file.parents[1].name} must have digest sha256:{was}, got sha256:{now}."
        " The slot is not used"
    )


def test_a_release_before_whose_bytes_have_changed_is_not_handed_back(gateway: Gateway) -> None:
    gateway.until_over(gateway.roll_out(gateway.release("one")))
    (gateway.owner / "fails-check-two").touch()
    rollout = gateway.roll_out(gateway.release("two"))
    while "check two before=True" not in gateway.log():
        gateway.fleet.step()
    said = rot(gateway, "one")
    gateway.until_over(rollout)
    assert gateway.installed == "two"
    reason = gateway.client.rollout(rollout).jobs[0].reason
    assert reason.startswith("FAILED_UNABLE_TO_ROLLBACK: its checks did not succeed within 20 s")
    assert reason.endswith(f"; and then: {said}")


def test_without_a_way_back_nothing_is_installed(gateway: Gateway) -> None:
    gateway.until_over(gateway.roll_out(gateway.release("one")))
    said = rot(gateway, "one")
    rollout = gateway.roll_out(gateway.release("two"))
    gateway.until_over(rollout)
    assert gateway.installed == "one"
    assert not [line for line in gateway.log() if " two " in line]
    assert gateway.client.rollout(rollout).jobs[0].reason == f"FAILED_ROLLBACK_COMPLETE: {said}"


def test_a_handler_that_keeps_what_was_before_elsewhere_goes_back_without_its_file() -> None:
    firmware = {"commit": ["true"], "rollback": ["true"]}
    told = [{"kind": "rauc"}, {"kind": "swupdate", **firmware}]
    told += [{"kind": "container", "image": "app", "start": ["true"]}]
    told += [{"kind": "script", "install": ["true"], "rollback": ["true"]}]
    assert [open_handler(one).needs_before for one in told] == [False, False, False, True]


def test_control_characters_that_a_command_prints_stop_no_later_command(noisy: Gateway) -> None:
    (noisy.owner / "fails-check-one").touch()
    noisy.until_over(noisy.roll_out(noisy.release("one")))
    assert noisy.installed == "factory"
    assert noisy.until_over(noisy.roll_out(noisy.release("two"))) == "finished"
    outcome = noisy.told().outcome
    assert outcome.evidence["said"]["admit"] == "image name [1m2"
    assert not list((noisy.owner.parent / "fleet").rglob("handed.json"))


def test_a_command_that_no_program_can_be_told_is_a_failure_of_the_handler() -> None:
    with pytest.raises(HandlerError) as caught:
        Commands().run("command", ["true", "a\0b"], {}, 5)
    assert str(caught.value) == (
        "[E513] command must be told what a program can be told, got embedded null byte"
    )
