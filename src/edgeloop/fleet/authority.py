"""A control plane's private certificate authority, and the certificate that it serves with.

The authority vouches for this one control plane, and where that is wanted for the connections of
its devices; not for releases, which are signed by keys of their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeloop import durable
from edgeloop.errors import CertificateError, ProtocolError

CA, CA_KEY, SERVER = "ca.pem", "ca-key.pem", "server.pem"
CA_LIVES = timedelta(days=20 * 365)  # devices hold it: a new one must be brought to each
SERVER_LIVES = timedelta(days=365)
DEVICE_LIVES = timedelta(days=30)
RENEWED_BEFORE = timedelta(days=60)  # of its end
EARLIER = timedelta(days=1)  # for clocks that are behind
ALWAYS = ("localhost", "127.0.0.1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (addresses to listen on, which nobody can ask for)
KEY_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip

Key: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey


class Authority:
    """The certificates in ``folder``, made where there are none; private keys have mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = folder / CA

    def serving(self, names: Iterable[str], now: float) -> Path:
        """The file with the server's certificate and key, made anew where it is time.

        That is near its end, and when it lacks one of ``names``; the names that it had stay, so
        that no device is locked out. The authority stays in either case.

        Raises:
            CertificateError: a file of the folder is broken, or a key is missing.
        """
        path, at = self._folder / SERVER, datetime.fromtimestamp(now, UTC)
        wanted = {*ALWAYS, *names} - {*EVERYWHERE}
        present = _certificate(path) if path.exists() else None
        had = _names(present) if present else set()
        if present is None or not wanted <= had or _ends_soon(present, at):
            durable.write(path, self._issued(wanted | had, at), mode=0o600)
        return path

    def device(self, device: str, request: str, now: float) -> x509.Certificate:
        """A short-lived certificate with which a device may connect; it serves as nothing else.

        Raises:
            ProtocolError: ``request`` is no certificate signing request with a P-256 key.
            CertificateError: a file of the folder is broken, or a key is missing.
        """
        at = datetime.fromtimestamp(now, UTC)
        public, (ca_key, ca) = _requested(request), self._own(at)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
        return (
            _draft(subject, ca.subject, public, at, DEVICE_LIVES)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_uses("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(ca_key, hashes.SHA256())
        )

    def certificate(self, now: float) -> Path:
        """The file with the authority's own certificate, made where there is none."""
        self._own(datetime.fromtimestamp(now, UTC))
        return self.ca

    def _issued(self, names: set[str], at: datetime) -> bytes:
        ca_key, ca = self._own(at)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgeloop control plane")])
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in sorted(names)])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        certificate = (
            _draft(subject, ca.subject, key.public_key(), at, SERVER_LIVES)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_uses("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(alternatives, critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)

    def _own(self, at: datetime) -> tuple[Key, x509.Certificate]:
        """Key and certificate of the authority itself; the key is written first, and kept."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / CA_KEY
        if not path.exists():
            if self.ca.exists():
                todo = f"Put {CA_KEY} back, or remove {CA} and give each device the new one"
                raise CertificateError(f"certificate {self.ca}", "must have its key", todo=todo)
            durable.create(path, _pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        key = _key(path)
        if not self.ca.exists():
            durable.write(self.ca, _signed_by_itself(key, at))
        return key, _certificate(self.ca)


def _signed_by_itself(key: Key, at: datetime) -> bytes:
    serial = f"{x509.random_serial_number():x}"[:8]  # two control planes are told apart
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgeloop authority {serial}")])
    certificate = (
        _draft(name, name, key.public_key(), at, CA_LIVES)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_uses("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, at: datetime, lives: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - EARLIER)
        .not_valid_after(at + lives)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _requested(request: str) -> PublicKey:
    """The key of a request that its holder signed."""
    rule = "must be signed by the P-256 key that it is for, in PEM"
    try:
        found = x509.load_pem_x509_csr(request.encode())
        key = found.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ProtocolError("certificate request", rule) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not found.is_signature_valid:
        raise ProtocolError("certificate request", rule)
    return key


def _uses(*of: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in of for name in KEY_USES})


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        rule = "must be a DNS name in ASCII, or an IP address"
        raise CertificateError(f"certificate's name {name!r}", rule) from error


def _names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in found}


def _ends_soon(certificate: x509.Certificate, at: datetime) -> bool:
    return at > certificate.not_valid_after_utc - RENEWED_BEFORE


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(path: Path) -> x509.Certificate:
    """The first certificate of a file."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        rule = "must be a certificate in PEM that can be read"
        raise CertificateError(f"certificate {path}", rule, got=error) from error


def _key(path: Path) -> Key:
    rule = "must be a private key of a P-256 curve in PEM that can be read"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CertificateError(f"key {path}", rule, got=error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"key {path}", rule)
    return key
