"""The certificate that a device shows over TLS, where its control plane gives one.

It has a key of its own, in a file beside it: a chip's key cannot be lent to the library of TLS.
That it is this device's is said by a signed request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgeloop import durable
from edgeloop.errors import ClientCertificateError, EdgeloopError
from edgeloop.protocol.messages import CertificateRequest

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.control_plane import ControlPlane

logger = logging.getLogger(__name__)
USED = 2 / 3  # of its life, after which it is renewed


class ClientCertificate:
    """Keeps ``file`` good: asked for when it is wanted, again when it nears its end."""

    def __init__(self, file: Path, plane: ControlPlane) -> None:
        self._file, self._plane = file, plane
        self._wanted = file.exists()

    def follow(self, *, wanted: bool | None) -> None:
        """``wanted`` is what the control plane said newly; None where it said nothing.

        What goes wrong is tried again at the next call, and holds up nothing else.
        """
        if wanted is not None:
            self._wanted = wanted
        if self._wanted and self._due():
            self._renew()

    def mend(self, fault: EdgeloopError) -> None:
        """Ask for one where that is what the control plane refused a request for."""
        if isinstance(fault, ClientCertificateError):
            self._renew()

    def _due(self) -> bool:
        from cryptography import x509  # what an agent without one need not hold

        try:
            found = x509.load_pem_x509_certificate(self._file.read_bytes())
        except (OSError, ValueError):  # none yet, or a broken one
            return True
        began = found.not_valid_before_utc.timestamp()
        return self._plane.time > began + USED * (found.not_valid_after_utc.timestamp() - began)

    def _renew(self) -> None:
        key, request = _asked()
        try:
            told = self._plane.certificate(CertificateRequest(request=request.decode()))
            durable.write(self._file, told.certificate.encode() + key, mode=0o600)
        except EdgeloopError as fault:
            logger.warning("certificate.failed fault=%s", fault)
            return
        logger.info("certificate.done file=%s", self._file.name)


def _asked() -> tuple[bytes, bytes]:
    """A new private key, and its request for a certificate, both in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    draft = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, draft.sign(key, hashes.SHA256()).public_bytes(pem)
