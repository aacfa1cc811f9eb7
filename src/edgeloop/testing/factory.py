"""A factory in a test: an authority, and devices that leave its line with a certificate each.

A real one has its key in a vault and its devices' keys in their chips; what claims is the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeloop import durable
from edgeloop.protocol import keys

if TYPE_CHECKING:
    from pathlib import Path

BEGAN, ENDS = datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
Sha = hashes.SHA224 | hashes.SHA256
Extension = tuple[x509.ExtensionType, bool]  # with whether it is critical


@dataclass(frozen=True, kw_only=True)
class Line:
    """An authority that issues certificates: a factory's own, or one between it and devices."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()  # those that a device sends beside its own

    @property
    def pem(self) -> str:
        """Its certificate."""
        return _pem(self.certificate)

    def below(self, name: str, *, longest: int | None = 0, **dates: datetime) -> Line:
        """A further authority, issued by this one; ``longest`` is its path length."""
        key = ec.generate_private_key(ec.SECP256R1())
        constraints = (x509.BasicConstraints(ca=True, path_length=longest), True)
        made = self._issue(_subject(name), key.public_key(), [constraints], None, **dates)
        return Line(key=key, certificate=made, above=(made, *self.above))

    def device(
        self,
        serial: str,
        key: keys.PublicKey,
        *,
        extensions: Sequence[Extension] = (),
        subject: x509.Name | None = None,
        sha: Sha | None = None,
        **dates: datetime,
    ) -> str:
        """The chain of a device that was just made, in PEM."""
        named = subject or _subject("device", serial)
        constraints = (x509.BasicConstraints(ca=False, path_length=None), True)
        made = self._issue(named, key, [constraints, *extensions], sha, **dates)
        return "".join(_pem(one) for one in (made, *self.above))

    def ship(self, folder: Path, serial: str, **about: str) -> None:
        """What a device has when it leaves the line: ``about`` is server, root and ca."""
        key = ec.generate_private_key(ec.SECP256R1())
        durable.make_folder(folder)
        keys.save(key, folder / "key.pem")
        (folder / "certificate.pem").write_text(self.device(serial, key.public_key()))
        (folder / "factory.json").write_text(json.dumps(about))

    def _issue(
        self,
        subject: x509.Name,
        key: keys.PublicKey,
        extensions: Sequence[Extension],
        sha: Sha | None = None,
        *,
        began: datetime = BEGAN,
        ends: datetime = ENDS,
    ) -> x509.Certificate:
        draft = _draft(subject, self.certificate.subject, key, began, ends)
        for extension, critical in extensions:
            draft = draft.add_extension(extension, critical)
        return draft.sign(self.key, sha or hashes.SHA256())


def line(name: str = "Acme cameras", *, longest: int | None = None) -> Line:
    """A new factory."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    draft = _draft(subject, subject, key.public_key(), BEGAN, ENDS)
    made = draft.add_extension(x509.BasicConstraints(ca=True, path_length=longest), critical=True)
    return Line(key=key, certificate=made.sign(key, hashes.SHA256()))


def _draft(
    subject: x509.Name, issuer: x509.Name, key: keys.PublicKey, began: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(ends)
    )


def _subject(name: str, serial: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if serial:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
