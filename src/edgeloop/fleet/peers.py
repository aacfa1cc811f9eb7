"""Certificates that devices show over TLS: who must, whose they are, and how one is given.

Identity is the signature of a request; this is a second lock on the same door. No date is looked at
in the handshake, so that a device whose certificate ended can ask for the next one.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeloop.errors import ClientCertificateError, ConflictError
from edgeloop.fleet.authority import Authority
from edgeloop.fleet.clients import Clients
from edgeloop.protocol.messages import Certificate, CertificateRequest

if TYPE_CHECKING:
    from starlette.types import Scope

    from edgeloop.fleet.plane import Plane
    from edgeloop.fleet.settings import Settings

PEER = "tls_peer"  # in a request's state: the certificate that its connection showed, DER
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name
ADVICE = "The agent asks for one by itself and tries again"


class PeerProtocol(H11Protocol):
    """The server's HTTP, which tells the application what a connection showed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the library does; its state is copied into each request."""
        super().connection_made(transport)
        secure = transport.get_extra_info("ssl_object")
        shown = secure.getpeercert(binary_form=True) if secure else None
        self.app_state = {**self.app_state, PEER: shown}


def ask_for(context: ssl.SSLContext, settings: Settings, now: float) -> None:
    """Let a server's connections ask for certificates of its authority, and take no others."""
    ca = Authority(settings.tls_folder).certificate(now)
    context.load_verify_locations(ca)
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    context.verify_mode = ssl.CERT_OPTIONAL  # who enrols has none yet


def check(plane: Plane, scope: Scope, device: str) -> None:
    """Return when a request's connection shows what it must.

    Raises:
        ClientCertificateError: it shows none that is good, or another device's.
    """
    clients = plane.settings.clients
    if clients is Clients.OFF:
        return
    shown = scope.get("state", {}).get(PEER)
    thing = f"connection of device {device}"
    if shown is None:
        if clients is Clients.REQUIRED:
            raise ClientCertificateError(thing, "must show its certificate", todo=ADVICE)
        return
    certificate = x509.load_der_x509_certificate(shown)
    whose = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    if whose != device:
        raise ClientCertificateError(thing, "must show its own certificate", got=f"that of {whose}")
    ended = certificate.not_valid_after_utc
    if datetime.fromtimestamp(plane.clock.now(), UTC) > ended:
        got = f"one that ended on {ended:%Y-%m-%d}"
        raise ClientCertificateError(thing, "must show its certificate", got=got, todo=ADVICE)


def give(plane: Plane, device: str, message: CertificateRequest) -> Certificate:
    """A certificate for the connections of a device that signed for it.

    Raises:
        ConflictError: none are given here.
        ProtocolError: the request for it is none.
    """
    settings = plane.settings
    if settings.clients is Clients.OFF:
        rule = "must be started with --client-certificates to give any"
        raise ConflictError("control plane", rule)
    made = Authority(settings.tls_folder).device(device, message.request, plane.clock.now())
    return Certificate(certificate=made.public_bytes(serialization.Encoding.PEM).decode())
