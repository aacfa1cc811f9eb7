"""Whom a device believes over TLS: the authority that it was given, and no other.

Of that authority's certificates no date is looked at: a device whose clock is wrong must not be
locked out, and what may be installed is decided by signed metadata, not by this.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from edgeloop.errors import CertificateError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name


def certificates(file: Path) -> str:
    """The certificates of a file, one or several in PEM.

    Raises:
        CertificateError: it holds none, or cannot be read.
    """
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeError) as fault:
        got = fault.strerror if isinstance(fault, OSError) else "other text"
        raise CertificateError(f"authority's file {file}", "must hold PEM", got=got) from fault
    believing(text)
    return text


class Shown:
    """The certificate that a device shows: a file with its key, taken anew whenever it changed."""

    def __init__(self, file: Path, context: ssl.SSLContext) -> None:
        self._file, self._context = file, context
        self._seen = 0

    def changed(self) -> bool:
        """Take the file where it changed; whether connections must be made anew."""
        try:
            now = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if now == self._seen:
            return False
        self._seen = now
        try:
            self._context.load_cert_chain(self._file)
        except (ssl.SSLError, OSError) as fault:  # a signed request goes without it
            logger.warning("certificate.failed file=%s fault=%s", self._file.name, fault)
            return False
        return True


def believing(pem: str) -> ssl.SSLContext:
    """Connections to servers whose certificate one of the authorities in ``pem`` signed.

    Raises:
        CertificateError: there is none in it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate, and for its name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as fault:
        raise CertificateError(
            "authority's file",
            "must hold certificates in PEM",
            got=fault.args[-1] if fault.args else None,
            todo="Bring the control plane's ca.pem by a trusted way",
        ) from fault
    return context
