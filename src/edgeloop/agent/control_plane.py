"""Talk to the control plane: signed requests, our errors, a corrected clock."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pydantic import ValidationError

from edgeloop.agent.sources import refusal
from edgeloop.agent.transport import Pace, Reply, Transport, paced
from edgeloop.errors import (
    ClientCertificateError,
    ConflictError,
    EdgeloopError,
    NotFoundError,
    ProtocolError,
    RevokedError,
    UnauthorizedError,
    UnreachableError,
)
from edgeloop.protocol.messages import (
    TIME_HEADER,
    VERSION,
    VERSION_HEADER,
    Certificate,
    CertificateRequest,
    Claim,
    Claimed,
    Desired,
    Enrol,
    Enrolled,
    Message,
    Report,
    Rotate,
    Rotated,
    Samples,
    Windows,
)
from edgeloop.protocol.signatures import sign

if TYPE_CHECKING:
    from edgeloop.clock import Clock
    from edgeloop.protocol.keys import Signer

logger = logging.getLogger(__name__)

LARGEST_REPLY = 1 << 20  # bytes of JSON
LEAST_OFFSET = 1.0  # seconds; a clock that is nearer than this is right
EARLIEST, LATEST = 1_577_836_800.0, 4_102_444_800.0  # 2020 and 2100; no server's clock is beyond
HASHED = re.compile(r'"[0-9a-f]{32}"')  # how our control planes tag a body: by its sha256's half
REFUSALS: dict[int, type[EdgeloopError]] = {
    400: ProtocolError,
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    409: ConflictError,
    413: ProtocolError,
    422: ProtocolError,
    426: ProtocolError,
}
NUMBERED: dict[str, type[EdgeloopError]] = {  # after which an agent does something of its own
    kind.number: kind for kind in (RevokedError, ClientCertificateError)
}

M = TypeVar("M", bound=Message)


class ControlPlane:
    """What one device may ask of the control plane at ``url``."""

    def __init__(
        self,
        url: str,
        key: Signer,
        device: str,
        transport: Transport,
        clock: Clock,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._url, self._key, self._device = url.rstrip("/"), key, device
        self._transport, self._clock, self._pace = transport, clock, pace or Pace()
        self._offset = 0.0  # seconds that the server's clock is ahead
        self._etag = ""

    def enrol(self, message: Enrol) -> Enrolled:
        """Make this key a device.

        Raises:
            UnauthorizedError: the token is wrong, expired, or was used by another key.
            ConflictError: the token is for another model, or the name belongs to another device.
            UnreachableError, ProtocolError: as for every call here.
        """
        return self._parsed(Enrolled, self._accepted(self._post("/v1/enrol", message)))

    def claim(self, message: Claim) -> Claimed:
        """Make the key in the message a device; to be asked with the factory's key.

        Raises:
            UnauthorizedError: the certificate, or its serial number, may not claim.
            ConflictError: the serial number was claimed by another key, or the name is taken.
            UnreachableError, ProtocolError: as for every call here.
        """
        return self._parsed(Claimed, self._accepted(self._post("/v1/claim", message)))

    def rotate(self, message: Rotate) -> Rotated:
        """Let a further key speak for this device, from its first use on alone."""
        return self._parsed(Rotated, self._accepted(self._post("/v1/rotate", message)))

    def certificate(self, message: CertificateRequest) -> Certificate:
        """A certificate for this device's connections."""
        reply = self._accepted(self._post("/v1/certificate", message))
        return self._parsed(Certificate, reply)

    @property
    def time(self) -> float:
        """Unix seconds, as the control plane has them where this device's clock is wrong."""
        return self._clock.now() + self._offset

    def speak_with(self, key: Signer) -> None:
        """Sign with this key from now on."""
        self._key = key

    def desired(self) -> Desired | None:
        """What the device should be; None when nothing changed since the last call."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        reply = self.ask("GET", f"{self._url}/v1/desired", headers, b"", LARGEST_REPLY)
        if reply.status == 304:
            self._body(reply)
            return None
        body, tag = self._accepted(reply), reply.headers.get("etag", "")
        self._check_tagged(tag, body)
        wish = self._parsed(Desired, body)
        self._etag = tag
        return wish

    def report(self, message: Report) -> None:
        """Say how the device is."""
        self._accepted(self._post("/v1/report", message))

    def windows(self, message: Windows) -> None:
        """Hand over windows; after this returns they are the control plane's."""
        self._accepted(self._post("/v1/windows", message))

    def samples(self, message: Samples) -> None:
        """Hand over samples; after this returns they are the control plane's."""
        self._accepted(self._post("/v1/samples", message))

    def fetch(self, url: str, max_bytes: int) -> Iterator[bytes]:
        """A file of the signed repository, in chunks.

        Raises:
            UnreachableError: no answer, or not 200 (the status is ``got``).
            ProtocolError: more than ``max_bytes``.
        """
        reply = self.ask("GET", url, {}, b"", max_bytes)
        if reply.status != 200:
            reply.close()
            raise UnreachableError(url, "must answer with 200", got=reply.status)
        try:
            yield from paced(url, reply.chunks, self._clock, self._pace)
        finally:
            reply.close()  # also of a reply that was broken off

    def read_from(self, url: str, first: int, max_bytes: int) -> Reply:
        """A blob from byte ``first`` on; status 206 when the server did resume, else 200.

        Raises:
            UnreachableError: no answer, or another status (it is ``got``).
        """
        headers = {"Range": f"bytes={first}-"} if first else {}
        reply = self.ask("GET", url, headers, b"", max_bytes)
        if reply.status not in {200, 206}:
            reply.close()
            raise refusal(url, reply.status)
        return reply

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        """One signed request; a second one when the server says that this device's clock is wrong.

        To another server than the control plane's it goes without a signature, and without a name.
        Only the control plane's word counts, not that of a cache or blob server elsewhere, and for
        signatures alone, never for trust in metadata.
        """
        reply = self._send(method, url, headers, body, max_bytes)
        if reply.status != 401 or not url.startswith(f"{self._url}/"):
            return reply
        if not self._corrected(reply.headers.get(TIME_HEADER.lower(), "")):
            return reply
        reply.close()
        return self._send(method, url, headers, body, max_bytes)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        if not url.startswith(f"{self._url}/"):  # a cache elsewhere need not know who asks
            return self._transport.send(method, url, headers, body, max_bytes)
        told = {VERSION_HEADER: str(VERSION), **headers}
        if body:
            told["Content-Type"] = "application/json"
        now = self._clock.now() + self._offset
        signed = sign(self._key, self._device, method, url, told, body, now)
        return self._transport.send(method, url, {**told, **signed}, body, max_bytes)

    def _corrected(self, server_time: str) -> bool:
        told = plausible_time(server_time)
        if told is None:
            return False
        offset = told - self._clock.now()
        wrong = abs(offset - self._offset) > LEAST_OFFSET
        if wrong:
            logger.warning("clock.done offset_seconds=%.1f", offset)
            self._offset = offset
        return wrong

    def _post(self, path: str, message: Message) -> Reply:
        body = message.model_dump_json().encode()
        return self.ask("POST", f"{self._url}{path}", {}, body, LARGEST_REPLY)

    def _accepted(self, reply: Reply) -> bytes:
        body = self._body(reply)
        if reply.status >= 300:
            _refuse(self._url, reply.status, body)
        return body

    def _parsed(self, kind: type[M], body: bytes) -> M:
        try:
            return kind.model_validate_json(body)
        except ValidationError as fault:
            raise ProtocolError(
                f"reply of {self._url}",
                f"must be a {kind.__name__} of protocol {VERSION}",
                got=f"{fault.error_count()} faults",
            ) from fault

    def _check_tagged(self, tag: str, body: bytes) -> None:
        """A wish that changed on its way would stay, since 304 says that it is still the one."""
        if HASHED.fullmatch(tag) and hashlib.sha256(body).hexdigest()[:32] != tag.strip('"'):
            raise ProtocolError(f"reply of {self._url}", "must come unchanged", got="other bytes")

    def _body(self, reply: Reply) -> bytes:
        return b"".join(paced(self._url, reply.chunks, self._clock, self._pace))


def plausible_time(text: str) -> float | None:
    """Unix seconds between 2020 and 2100; None when ``text`` says anything else."""
    try:
        told = float(text)
    except ValueError:
        return None
    return told if EARLIEST <= told < LATEST else None


def _refuse(url: str, status: int, body: bytes) -> NoReturn:
    """Raise the error that the control plane states, or the one that fits the status."""
    kind = REFUSALS.get(status, UnreachableError)
    try:
        told = json.loads(body)["error"]
        message = told["message"]
        kind = NUMBERED.get(told.get("number"), kind)
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"status {status}"
    raise kind(f"control plane {url}", "must accept the request", got=message)
