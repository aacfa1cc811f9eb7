"""Whom a device believes over TLS, through real connections."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeloop.agent.transport import Urllib3Transport
from edgeloop.agent.wire import believing, certificates
from edgeloop.clock import SystemClock
from edgeloop.errors import CertificateError, NotBelievedError
from edgeloop.fleet.authority import Authority

YEAR = 365 * 86_400.0
NOW = SystemClock().now()


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not believe us breaks the handshake off."""


@contextmanager
def https(cert: Path) -> Iterator[str]:
    server = Quiet(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(url: str, transport: Urllib3Transport) -> bytes:
    return b"".join(transport.send("GET", f"{url}/x", {}, b"", 100).chunks)


def refused(url: str, transport: Urllib3Transport) -> str:
    with pytest.raises(NotBelievedError) as caught:
        asked(url, transport)
    assert str(caught.value).startswith(
        f"[E609] server of {url}/x must show a certificate that this device believes, got "
    )
    assert caught.value.todo == (
        "Give the device the control plane's ca.pem; see docs/how-to/devices.md"
    )
    return str(caught.value.got)


def test_a_server_of_the_authority_is_believed_and_no_other(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    with https(ours.serving((), NOW)) as url, https(others.serving((), NOW)) as other:
        ca = certificates(ours.ca)
        assert asked(url, Urllib3Transport(url, ca)) == b"hello"
        assert "unable to get local issuer" in refused(other, Urllib3Transport(other, ca))
        assert "unable to get local issuer" in refused(url, Urllib3Transport())


def test_the_authority_vouches_for_the_control_plane_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with https(authority.serving((), NOW)) as url:
        elsewhere = Urllib3Transport("https://plane.test", certificates(authority.ca))
        assert "unable to get local issuer" in refused(url, elsewhere)


def test_a_server_of_another_name_is_not_believed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with https(authority.serving((), NOW)) as url:
        ca, named = certificates(authority.ca), url.replace("127.0.0.1", "localhost")
        assert asked(named, Urllib3Transport(named, ca)) == b"hello"
        other = url.replace("127.0.0.1", "127.1")  # the same machine, by an address not in it
        assert "mismatch" in refused(other, Urllib3Transport(other, ca))


@pytest.mark.parametrize("years", [-30, 30])
def test_a_device_whose_clock_is_wrong_is_not_locked_out(tmp_path: Path, years: int) -> None:
    """A certificate that is over, or not yet begun, is as good to it as any other."""
    authority = Authority(tmp_path)
    with https(authority.serving((), NOW + years * YEAR)) as url:
        assert asked(url, Urllib3Transport(url, certificates(authority.ca))) == b"hello"


def test_several_authorities_can_be_given_while_one_is_replaced(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    with https(old.serving((), NOW)) as url, https(new.serving((), NOW)) as other:
        both = certificates(old.ca) + certificates(new.ca)
        assert asked(url, Urllib3Transport(url, both)) == b"hello"
        assert asked(other, Urllib3Transport(other, both)) == b"hello"


def test_the_systems_authorities_do_not_vouch_for_the_control_plane(tmp_path: Path) -> None:
    Authority(tmp_path).serving(["localhost"], SystemClock().now())
    context = believing((tmp_path / "ca.pem").read_text())
    assert len(context.get_ca_certs()) == 1


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(CertificateError) as caught:
        certificates(path)
    assert str(caught.value) == (
        f"[E608] authority's file {path} must hold PEM, got No such file or directory"
    )
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(CertificateError) as caught:
        certificates(path)
    assert str(caught.value).startswith(
        "[E608] authority's file must hold certificates in PEM, got "
    )
