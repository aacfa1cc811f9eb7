"""Mutual TLS: a connection shows the certificate of the device whose requests it carries."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from fleet_bench import Bench, message

from edgeloop.agent import enrolment
from edgeloop.agent.agent import Agent
from edgeloop.agent.client_certificate import ClientCertificate
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.key_places import key_of
from edgeloop.agent.settings import CLIENT, read
from edgeloop.agent.transport import Urllib3Transport
from edgeloop.clock import SystemClock
from edgeloop.errors import ClientCertificateError, UnreachableError
from edgeloop.fleet import peers, process
from edgeloop.fleet.authority import Authority
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.clients import Clients
from edgeloop.fleet.settings import Settings, Tls
from edgeloop.protocol.messages import Certificate
from edgeloop.release.repository import Repository

NOW = SystemClock().now()
ADVICE = "The agent asks for one by itself and tries again"
DAY = 86_400.0


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A control plane that hears nobody without a certificate, and two enrolled devices."""
    Repository(tmp_path / "repository", tmp_path / "keys").create(("stable",))
    settings = Settings(
        folder=tmp_path / "fleet",
        repository=tmp_path / "repository",
        layout=tmp_path / "layout",
        poll_seconds=0.1,
        tls=Tls(clients=Clients.REQUIRED),
    )
    process.start(settings)
    client = FleetClient.of_folder(settings.folder)
    for name in ("d1", "d2"):
        enrolment.enrol(
            tmp_path / name,
            server=client.url,
            token=client.create_token().token,
            name=name,
            model="sorter",
            root=(tmp_path / "repository" / "metadata" / "1.root.json").read_bytes(),
            ca=(settings.tls_folder / "ca.pem").read_text(),
        )
    yield tmp_path
    process.stop(settings.folder)


def speaking(work: Path, name: str, certificate: Path | None) -> ControlPlane:
    """A device that shows what it is told to."""
    told = read(work / name)
    wire = Urllib3Transport(told.server, (work / name / "ca.pem").read_text(), certificate)
    key = key_of(told.key, work / name)
    return ControlPlane(told.server, key, told.device, wire, SystemClock())


def heard(work: Path, name: str) -> None:
    with Agent.open(work / name) as agent:
        for _ in range(100):
            agent.tick()
            if FleetClient.of_folder(work / "fleet").device(name).report is not None:
                return
            SystemClock().sleep(0.05)
    raise AssertionError(name)


def test_a_device_is_heard_with_its_own_certificate_alone(work: Path) -> None:
    ids = {name: read(work / name).device for name in ("d1", "d2")}
    with pytest.raises(ClientCertificateError) as caught:
        speaking(work, "d1", None).desired()
    shown = f"[E613] connection of device {ids['d1']} must show its certificate. {ADVICE}"
    assert caught.value.got == shown
    for name in ids:
        heard(work, name)  # the agent asked for one by itself
        assert (work / name / CLIENT).stat().st_mode & 0o777 == 0o600
    assert speaking(work, "d1", work / "d1" / CLIENT).desired() is not None
    with pytest.raises(ClientCertificateError) as caught:
        speaking(work, "d1", work / "d2" / CLIENT).desired()
    assert caught.value.got == (
        f"[E613] connection of device {ids['d1']} must show its own certificate, "
        f"got that of {ids['d2']}"
    )


def test_a_certificate_of_another_authority_ends_the_handshake(work: Path) -> None:
    other = Authority(work / "other")
    (work / "stolen.pem").write_bytes(made(other, read(work / "d1").device))
    with pytest.raises(UnreachableError) as caught:
        speaking(work, "d1", work / "stolen.pem").desired()
    assert type(caught.value) is UnreachableError  # no reply at all: the server hung up


def made(authority: Authority, device: str, now: float = NOW) -> bytes:
    """A certificate with its key, as it lies in a device's folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.device(device, request(key), now)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem) + private


def request(key: ec.EllipticCurvePrivateKey) -> str:
    draft = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return draft.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_devices_certificate_serves_nothing(tmp_path: Path) -> None:
    """Who has one cannot play the control plane to others."""
    authority = Authority(tmp_path)
    (certificate,) = x509.load_pem_x509_certificates(made(authority, "d1"))
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (uses.critical, list(uses.value)) == (True, [ExtendedKeyUsageOID.CLIENT_AUTH])
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.ca is False


@pytest.mark.parametrize("clients", [Clients.OPTIONAL, Clients.REQUIRED])
def test_a_certificate_that_ended_is_said_so_that_the_device_asks_for_the_next(
    tmp_path: Path, clients: Clients
) -> None:
    made_then = made(Authority(tmp_path), "d1", NOW - 31 * DAY)
    scope: Any = {"state": {peers.PEER: ssl.PEM_cert_to_DER_cert(_first(made_then))}}
    plane: Any = SimpleNamespace(settings=SimpleNamespace(clients=clients), clock=SystemClock())
    with pytest.raises(ClientCertificateError) as caught:
        peers.check(plane, scope, "d1")
    ended = datetime.fromtimestamp(NOW - DAY, UTC)
    assert str(caught.value) == (
        "[E613] connection of device d1 must show its certificate, "
        f"got one that ended on {ended:%Y-%m-%d}. {ADVICE}"
    )


def test_where_it_is_optional_a_connection_may_show_nothing() -> None:
    plane: Any = SimpleNamespace(settings=SimpleNamespace(clients=Clients.OPTIONAL))
    peers.check(plane, {"state": {}}, "d1")
    peers.check(plane, {}, "d1")


def _first(pem: bytes) -> str:
    end = b"-----END CERTIFICATE-----\n"
    return (pem.partition(end)[0] + end).decode()


def test_a_control_plane_without_them_gives_none(bench: Bench) -> None:
    device = bench.device("cam-1")
    assert device.desired().json()["client_certificate"] is False
    body = b'{"request": "x"}'
    reply = bench.http.send(device.request("POST", "/v1/certificate", body))
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] control plane must be started with --client-certificates to give any",
    )


class Given:
    """A control plane that gives certificates of ``days`` days, at a time that it says."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.time, self.asked = Authority(folder), NOW, 0

    def certificate(self, asked: Any) -> Certificate:
        self.asked += 1
        made = self.authority.device("d1", asked.request, self.time)
        return Certificate(certificate=made.public_bytes(serialization.Encoding.PEM).decode())


def test_it_is_renewed_after_two_thirds_of_its_life_by_the_control_planes_clock(
    tmp_path: Path,
) -> None:
    plane: Any = Given(tmp_path)
    kept = ClientCertificate(tmp_path / CLIENT, plane)
    kept.follow(wanted=None)
    assert plane.asked == 0
    for days, asked in ((0, 1), (0, 1), (18, 1), (21, 2), (22, 2)):
        plane.time = NOW + days * DAY
        kept.follow(wanted=True)
        assert plane.asked == asked, days
    (tmp_path / CLIENT).write_text("torn")
    kept.follow(wanted=None)
    assert plane.asked == 3
    kept.mend(UnreachableError("x", "must answer"))
    assert plane.asked == 3
    kept.mend(ClientCertificateError("x", "must show its certificate"))
    assert plane.asked == 4
