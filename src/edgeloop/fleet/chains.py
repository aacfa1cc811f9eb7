"""Whether a certificate was issued by a factory's authority, and for which serial number.

Read as IEEE 802.1AR has device certificates: the serial number is the subject's ``serialNumber``;
an end in the year 9999 means none. Dates are held against the server's clock alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from edgeloop.errors import FactoryError, KeyFileError
from edgeloop.protocol import keys
from edgeloop.protocol.keys import PublicKey

MOST = 4  # certificates of a chain, the device's own among them
READ = frozenset(  # extensions whose meaning is looked at, or has none here
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
CLIENT = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
E = TypeVar("E", bound=x509.ExtensionType)
_FAULTS = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A device's certificate and those between it and the factory's authority, in this order."""

    own: x509.Certificate
    between: tuple[x509.Certificate, ...]
    key: PublicKey
    serial: str


def read(pem: str) -> Chain:
    """What a device sent.

    Raises:
        FactoryError: no certificates, too many, or one of another form.
    """
    try:
        own, *between = x509.load_pem_x509_certificates(pem.encode())
        for one in (own, *between):
            _ = one.extensions  # parsed only now
        key = keys.known(own.public_key())
    except KeyFileError as fault:
        raise _refused("must have an Ed25519 or a P-256 key") from fault
    except _FAULTS as fault:
        raise _refused("must be a chain of certificates in PEM that can be read") from fault
    if len(between) >= MOST:
        raise _refused(f"must come with at most {MOST - 1} others", got=len(between))
    return Chain(own=own, between=tuple(between), key=key, serial=_serial(own))


def authority(pem: str) -> x509.Certificate:
    """A factory's authority, as an operator brings it.

    Raises:
        FactoryError: it is none.
    """
    thing = "factory's authority"
    try:
        (found,) = x509.load_pem_x509_certificates(pem.encode())
        signs = _may_sign(found)
    except _FAULTS as fault:
        raise FactoryError(thing, "must be one certificate in PEM that can be read") from fault
    if not signs:
        raise FactoryError(thing, "must be a certificate that may sign others (CA)")
    return found


def is_below(chain: Chain, ca: x509.Certificate) -> bool:
    """Whether the signatures lead from a device's certificate to this authority."""
    return all(_issued(issuer, one) for one, issuer in pairwise(_line(chain, ca)))


def are_nested(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether one of two authorities issued the other; not of two certificates of one authority."""
    if one.public_key() == other.public_key():
        return False
    return _issued(one, other) or _issued(other, one)


def _issued(issuer: x509.Certificate, one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_FAULTS):
        return False
    return True


def check(chain: Chain, ca: x509.Certificate, now: float) -> None:
    """Return when a chain that :func:`is_below` an authority may be believed at ``now``.

    Raises:
        FactoryError: a date, use or length is wrong.
    """
    at, line = datetime.fromtimestamp(now, UTC), _line(chain, ca)
    for one in line:
        _check_form(one, at)
    for below, one in enumerate(line[1:]):
        constraints = _extension(one, x509.BasicConstraints)
        if constraints is None or not _may_sign(one):
            raise _refused("must be issued by authorities alone", got=_name(one))
        longest = constraints.path_length
        if longest is not None and below > longest:
            raise _refused(f"must have at most {longest} authorities below {_name(one)}", got=below)
    _check_own(chain.own)


def _line(chain: Chain, ca: x509.Certificate) -> list[x509.Certificate]:
    return [chain.own, *(one for one in chain.between if one != ca), ca]


def _check_form(one: x509.Certificate, at: datetime) -> None:
    begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
    if not begins <= at <= ends:
        got = f"{_name(one)}: {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
        raise _refused(f"must be valid on {at:%Y-%m-%d}, by this side's clock", got=got)
    digest = one.signature_hash_algorithm  # None: Ed25519 has its own
    if digest and not isinstance(digest, HASHES):
        raise _refused("must be signed over SHA-2 of 256 bits or more", got=digest.name)
    strange = [e.oid.dotted_string for e in one.extensions if e.critical and e.oid not in READ]
    if strange:
        rule = "must have no critical extension that is not known here"
        raise _refused(rule, got=", ".join(strange))


def _check_own(own: x509.Certificate) -> None:
    if _may_sign(own):
        raise _refused("must be a device's own, not an authority's")
    use = _extension(own, x509.KeyUsage)
    if use is not None and not use.digital_signature:
        raise _refused("must be for signatures (key usage)")
    purposes = _extension(own, x509.ExtendedKeyUsage)
    if purposes is not None and not CLIENT & set(purposes):
        raise _refused("must be for clients (extended key usage)")


def _may_sign(one: x509.Certificate) -> bool:
    """Whether it may issue others: an authority, and where it states uses, for that."""
    constraints, use = _extension(one, x509.BasicConstraints), _extension(one, x509.KeyUsage)
    return bool(constraints and constraints.ca and (use is None or use.key_cert_sign))


def _extension(one: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _serial(own: x509.Certificate) -> str:
    """The subject's serial number, or else the one DNS name or URI that it goes by."""
    found = [str(a.value) for a in own.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    names = _extension(own, x509.SubjectAlternativeName)
    if not found and names is not None:
        found = [
            *names.get_values_for_type(x509.DNSName),
            *names.get_values_for_type(x509.UniformResourceIdentifier),
        ]
    if len(found) != 1 or not SERIAL.fullmatch(found[0]):
        raise _refused(
            "must name one serial number (subject serialNumber, or else one DNS name or URI), of up"
            " to 64 of A-Z a-z 0-9 . _ : -",
            got=", ".join(ascii(one)[:80] for one in found[:3]) or "none",
        )
    return found[0]


def _name(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string()[:120]


def _refused(rule: str, *, got: object = None) -> FactoryError:
    return FactoryError("factory certificate", rule, got=got)
