"""A control plane's own certificates: made once, renewed in time, and kept to their owner."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from edgeloop.errors import CertificateError
from edgeloop.fleet import tls
from edgeloop.fleet.authority import Authority
from edgeloop.fleet.settings import Settings, Tls

NOW = 1_800_000_000.0
DAY = 86_400.0


def names(path: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes()).extensions
    told = found.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in told}


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    path = Authority(tmp_path / "tls").serving((), NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"ca-key.pem": 0o600, "server.pem": 0o600, "ca.pem": 0o644}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_for_the_names_that_were_told_and_for_this_machine(tmp_path: Path) -> None:
    told = ("fleet.example", "192.0.2.7", "0.0.0.0")
    path = Authority(tmp_path).serving(told, NOW)
    assert names(path) == {"fleet.example", "192.0.2.7", "localhost", "127.0.0.1"}


def test_a_start_without_its_names_locks_no_device_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.serving(("fleet.example",), NOW).read_bytes()
    assert authority.serving((), NOW).read_bytes() == first
    assert {"fleet.example", "more.example"} < names(authority.serving(("more.example",), NOW))


def test_it_is_renewed_before_its_end_and_its_authority_stays(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.serving((), NOW).read_bytes()
    ca = authority.ca.read_bytes()
    assert authority.serving((), NOW + 304 * DAY).read_bytes() == first
    assert authority.serving((), NOW + 306 * DAY).read_bytes() != first
    assert authority.ca.read_bytes() == ca


def test_a_running_server_takes_the_renewed_one(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, repository=tmp_path, layout=tmp_path, tls=Tls())
    path = Authority(settings.tls_folder).serving((), NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    assert served(context, path.with_name("ca.pem")) == der(path)
    before = der(path)
    tls.renew(context, settings, NOW + 306 * DAY)
    assert served(context, path.with_name("ca.pem")) == der(path) != before


def test_what_goes_wrong_at_a_renewal_leaves_the_one_that_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(folder=tmp_path, repository=tmp_path, layout=tmp_path, tls=Tls())
    path = Authority(settings.tls_folder).serving((), NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    before = der(path)
    path.with_name("ca-key.pem").unlink()
    tls.renew(context, settings, NOW + 306 * DAY)
    assert served(context, path.with_name("ca.pem")) == before
    assert "certificate.failed fault=[E608]" in caplog.text


def test_an_authority_without_its_key_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.serving((), NOW).unlink()
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(CertificateError) as caught:
        authority.serving((), NOW)
    assert str(caught.value) == (
        f"[E608] certificate {tmp_path / 'ca.pem'} must have its key. "
        "Put ca-key.pem back, or remove ca.pem and give each device the new one"
    )


def test_a_name_that_no_certificate_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateError) as caught:
        Authority(tmp_path).serving(("flöte.example",), NOW)
    assert str(caught.value) == (
        "[E608] certificate's name 'flöte.example' must be a DNS name in ASCII, or an IP address"
    )


def test_a_certificate_of_ones_own_must_have_its_key(tmp_path: Path) -> None:
    path = Authority(tmp_path).serving((), NOW)
    other = Authority(tmp_path / "other").serving((), NOW)
    tls.check(path, None)
    with pytest.raises(CertificateError) as caught:
        tls.check(path, other)
    assert str(caught.value).startswith(  # behind it stands a line of the library's source
        f"[E608] certificate {path} with key {other} must be a chain in PEM with the private key "
        "of its first certificate, got [X509: KEY_VALUES_MISMATCH] key values mismatch"
    )
    with pytest.raises(CertificateError) as caught:
        tls.check(tmp_path / "none.pem", None)
    assert str(caught.value) == (
        f"[E608] certificate {tmp_path / 'none.pem'} must be a chain in PEM with the private key "
        "of its first certificate, got No such file or directory"
    )


def der(path: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def served(context: ssl.SSLContext, ca: Path) -> bytes | None:
    """The certificate that a handshake in memory shows."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.load_verify_locations(ca)
    asking.verify_flags |= ssl.VerifyFlags(0x200000)  # the dates are this test's own
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there, server_hostname="localhost")
    server = context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(binary_form=True)


def test_a_certificate_is_good_for_whoever_has_a_clock_that_is_hours_behind(tmp_path):
    pem = Authority(tmp_path).serving((), NOW).read_bytes()
    begins = x509.load_pem_x509_certificate(pem).not_valid_before_utc
    assert begins.timestamp() <= NOW - 12 * 3600
