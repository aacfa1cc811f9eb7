"""What an operator types for factories, keys and devices that enrol again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claiming import Made
from fleet_bench import URL, Bench, Device
from typer.testing import CliRunner

from edgeloop.agent.claiming import read as read_shipped
from edgeloop.agent.invitation import read as read_invitation
from edgeloop.cli import device, factory, fleet
from edgeloop.cli.main import app
from edgeloop.testing.factory import line

RUNNER = CliRunner()
FACTORY = line()
ABOUT = {"server": URL, "model": "sorter", "root": "{}", "ca": ""}


@pytest.fixture(autouse=True)
def connected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fleet, device, factory):
        monkeypatch.setattr(module, "connect", lambda _fleet: bench.operator)
    for module in (device, factory):  # without a loop file
        monkeypatch.setattr(module, "about", lambda *_: dict(ABOUT))


def call(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: object) -> Any:
    return json.loads(call(*arguments, "--format", "json"))


def refused(*arguments: object) -> str:
    return str(RUNNER.invoke(app, [str(one) for one in arguments]).exception)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(FACTORY.pem)
    return tmp_path / "ca.pem"


def test_a_factory_is_added_with_a_batch_and_revoked(
    bench: Bench, ca: Path, tmp_path: Path
) -> None:
    added = ("fleet", "factory", "add", "acme", ca, "--model", "sorter", "--listed")
    assert call(*added, "--label", "maker=acme") == (
        "acme (CN=Acme cameras): devices that are listed may claim stable/sorter\n"
    )
    batch = tmp_path / "batch.csv"
    batch.write_text("serial,name,labels\nSN-1,gate,site=north; floor=2\nSN-2,,\n")
    assert call("fleet", "factory", "serials", "acme", batch) == "2 devices of acme may claim\n"
    Made(bench, FACTORY, "SN-1").claim()
    assert bench.operator.device("gate").labels == {"maker": "acme", "site": "north", "floor": "2"}
    (row,) = told("fleet", "factory", "list")
    assert (row["listed"], row["claimed"], row["state"]) == (2, 1, "open")
    assert call("fleet", "factory", "revoke", "acme") == (
        "acme is revoked: no further device of it may claim\n"
    )
    assert call("device", "release-claim", "gate") == "gate may claim once more, with another key\n"


def test_a_batch_of_many_goes_in_parts(bench: Bench, ca: Path, tmp_path: Path) -> None:
    call("fleet", "factory", "add", "acme", ca, "--model", "sorter", "--listed")
    batch = tmp_path / "batch.csv"
    batch.write_text("serial\n" + "".join(f"SN-{number}\n" for number in range(1201)))
    call("fleet", "factory", "serials", "acme", batch)
    assert bench.operator.factories()[0].listed == 1201
    assert bench.actions("factory") == ["factory.added", *["factory.listed"] * 3]


def test_a_batch_is_looked_at_before_anybody_is_asked(bench: Bench, tmp_path: Path) -> None:
    batch = tmp_path / "batch.csv"
    batch.write_text("serial,name\nSN-1,\n../x,\n")
    assert refused("fleet", "factory", "serials", "acme", batch) == (
        "[E103] BATCH line 3 must fit, got serial '../x': "
        "String should match pattern '^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$'"
    )
    batch.write_text("number\n1\n")
    assert refused("fleet", "factory", "serials", "acme", batch) == (
        "[E103] BATCH must have a header with serial in it, got ['number']"
    )
    assert bench.operator.factories() == []


def test_what_is_shipped_is_what_a_claim_reads(tmp_path: Path) -> None:
    out = tmp_path / "factory.json"
    assert call("fleet", "factory", "ship", out) == (
        f"{out} goes into each device, beside certificate.pem and its key\n"
    )
    assert read_shipped(tmp_path).server == URL
    assert "sorter" not in out.read_text()  # the factory says who follows what


def test_a_device_is_revoked_shown_and_enrolled_again(bench: Bench, tmp_path: Path) -> None:
    bench.device("cam-1")
    assert call("device", "rotate", "cam-1") == "cam-1 is to make itself a new key\n"
    assert told("device", "show", "cam-1")["rotating"] is True
    assert call("device", "revoke", "cam-1") == (
        "cam-1 is revoked: nobody listens to it until it is enrolled again\n"
    )
    (row,) = call("device", "list").splitlines()[1:]
    assert "revoked" in row
    out = tmp_path / "cam-1.json"
    assert call("device", "re-enrol", "cam-1", "--invitation", out) == (
        f"{out} is for cam-1 alone; bring it there by a trusted way\n"
    )
    invitation = read_invitation(out)
    assert (invitation.model, invitation.channel, out.stat().st_mode & 0o777) == (
        "sorter", "stable", 0o600,
    )  # fmt: skip
    assert Device(bench, "cam-1").enrol(invitation.token).status_code == 200
    assert told("device", "show", "cam-1")["revoked"] is False
