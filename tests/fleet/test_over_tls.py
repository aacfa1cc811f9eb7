"""A control plane as a process over TLS, asked by operators and by enrolled devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.agent.agent import Agent
from edgeloop.errors import CertificateError, NotBelievedError
from edgeloop.fleet import process
from edgeloop.fleet.authority import Authority
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.settings import Settings, Tls
from edgeloop.release.repository import Repository
from edgeloop.testing.processes import control_plane, enrolled


@pytest.fixture
def work(tmp_path: Path) -> Path:
    Repository(tmp_path / "repository", tmp_path / "keys").create(("stable",))
    return tmp_path


@pytest.fixture
def settings(work: Path) -> Iterator[Settings]:
    made = Settings(
        folder=work / "fleet", repository=work / "repository", layout=work / ".edgeloop", tls=Tls()
    )
    yield made
    process.stop(made.folder)


def test_a_device_and_an_operator_ask_over_tls(work: Path) -> None:
    with control_plane(work) as fleet:
        assert fleet.url.startswith("https://127.0.0.1:")
        enrolled(work, fleet, "d1", site="north", model="sorter")
        assert fleet.devices()[0].report is None
        with Agent.open(work / "devices" / "d1") as agent:
            agent.tick()
        assert fleet.devices()[0].report is not None
        with pytest.raises(NotBelievedError) as caught:
            FleetClient(fleet.url, "token").health()
    assert str(caught.value).startswith(
        f"[E609] control plane at {fleet.url}/healthz must show a certificate"
    )


def test_a_device_keeps_its_authority_and_believes_no_other(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = work / "devices" / "d1"
    with control_plane(work) as fleet:
        enrolled(work, fleet, "d1", site="north", model="sorter")
        assert (folder / "ca.pem").read_bytes() == (work / "fleet/tls/ca.pem").read_bytes()
        other = Authority(work / "other")
        other.serving((), 1_800_000_000.0)
        (folder / "ca.pem").write_bytes(other.ca.read_bytes())
        with Agent.open(folder) as agent:
            agent.tick()
    assert "tick.failed state=idle fault=[E609]" in caplog.text


def test_a_folder_that_began_with_http_goes_on_with_it(work: Path) -> None:
    (work / "fleet").mkdir()
    (work / "fleet" / "operator.token").write_text("t")
    with control_plane(work) as fleet:
        assert fleet.url.startswith("http://")
        assert fleet.ca is None


def test_a_certificate_of_ones_own_is_served_and_known_on_this_machine(
    work: Path, settings: Settings
) -> None:
    cert = Authority(work / "own").serving(("fleet.example",), 1_800_000_000.0)
    own = Tls(cert=cert)
    running = process.start(
        Settings(folder=settings.folder, repository=work / "repository", layout=work / "x", tls=own)
    )
    assert FleetClient.of_folder(settings.folder).health().status == "ok"
    told = json.loads((settings.folder / "fleet.json").read_text())
    assert (told["url"], len(told["fingerprint"])) == (running["url"], 64)
    assert not settings.tls_folder.exists()


def test_a_certificate_that_cannot_be_served_is_told_where_it_is_started(
    work: Path, settings: Settings
) -> None:
    own = Tls(cert=work / "none.pem")
    with pytest.raises(CertificateError) as caught:
        process.start(Settings(folder=settings.folder, repository=work, layout=work / "x", tls=own))
    assert str(caught.value) == (
        f"[E608] certificate {work / 'none.pem'} must be a chain in PEM with the private key of "
        "its first certificate, got No such file or directory"
    )
