"""What a control plane serves https with: its own authority's certificate, or a person's."""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.errors import CertificateError, EdgeloopError
from edgeloop.fleet.authority import Authority

if TYPE_CHECKING:
    from edgeloop.clock import Clock
    from edgeloop.fleet.settings import Settings, Tls

logger = logging.getLogger(__name__)
DAY = 86_400.0


def files(settings: Settings, tls: Tls, now: float) -> tuple[Path, Path | None]:
    """Certificate and key to serve with; the key is None where one file has both.

    Raises:
        CertificateError: they cannot be used.
    """
    if tls.cert is None:
        names = (settings.host, *tls.names)
        return Authority(settings.tls_folder).serving(names, now), None
    check(tls.cert, tls.key)
    return tls.cert, tls.key


def check(cert: Path, key: Path | None) -> None:
    """Return when a server could serve with these.

    Raises:
        CertificateError: it could not.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:  # ssl's own fault is one
        raise CertificateError(
            f"certificate {cert}" + (f" with key {key}" if key else ""),
            "must be a chain in PEM with the private key of its first certificate",
            got=error.strerror or error,
        ) from error


def fingerprint(cert: Path) -> str:
    """The sha256 of a file's first certificate, by which a client on this machine knows it."""
    head, end, _ = cert.read_text().partition(END)
    pem = head[head.index(BEGIN) :] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def keep_fresh(
    context: ssl.SSLContext, settings: Settings, clock: Clock, stop: threading.Event
) -> None:
    """Look once a day whether the certificate is near its end, until ``stop`` is set.

    A person's own is not looked at: who replaces it starts the control plane again.
    """
    while not stop.wait(DAY):
        renew(context, settings, clock.now())


def renew(context: ssl.SSLContext, settings: Settings, now: float) -> None:
    """Serve new connections with the certificate that is due; what goes wrong is only logged."""
    if settings.tls is None or settings.tls.cert is not None:
        return
    try:
        cert, key = files(settings, settings.tls, now)
        context.load_cert_chain(cert, key)
    except (EdgeloopError, OSError) as fault:  # the one that is loaded may be good for weeks
        logger.warning("certificate.failed fault=%s", fault)
