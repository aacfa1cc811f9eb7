"""Get bytes over HTTP by one method, bounded in size and slowness; no trust, no retries."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgeloop.agent.wire import Shown, believing
from edgeloop.errors import NotBelievedError, ProtocolError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.clock import Clock

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0  # between two reads of the socket
HEAD_SECONDS = 60.0  # for a connection, for a reply's head, and for each piece of its body
CHUNK = 1 << 16
BURST_SECONDS = 1.0
NAP_SECONDS = 1.0  # at most at a time


def _nothing() -> None:
    """What closing a reply without a connection does."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a server sent. Header names are in lower case; ``chunks`` can be read once."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None] = field(default=_nothing, repr=False)


class Transport(Protocol):
    """Sends one request.

    Raises UnreachableError when no reply comes, at the call or while chunks are read, and
    ProtocolError when the body has more than ``max_bytes``. Follows no redirect.
    """

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply: ...


class Urllib3Transport:
    """The real one, with pools of connections that several threads may use.

    Where ``ca`` (certificates in PEM) is given, it alone vouches for addresses below ``server``;
    for all others, and without it, the system's authorities do. ``certificate`` is a file that
    may come to be, with what is shown there.

    Raises:
        CertificateError: ``ca`` holds no certificate.
    """

    def __init__(self, server: str = "", ca: str = "", certificate: Path | None = None) -> None:
        self._server = server.rstrip("/") + "/"
        self._pool = _pool()
        self._shown: Shown | None = None
        if not ca and certificate is None:
            self._own = self._pool
            return
        context = believing(ca) if ca else ssl.create_default_context()
        self._own = _pool(ssl_context=context)
        if certificate is not None:
            self._shown = Shown(certificate, context)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        """See :class:`Transport`."""
        from urllib3.exceptions import HTTPError

        pool = self._own if url.startswith(self._server) else self._pool
        if pool is self._own and self._shown is not None and self._shown.changed():
            pool.clear()
        try:
            response = pool.request(
                method,
                url,
                headers=dict(headers),
                body=body or None,
                preload_content=False,
                redirect=False,
            )
        except HTTPError as fault:
            raise _unreachable(url, fault) from fault
        return Reply(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            chunks=bounded(url, _chunks(url, response), max_bytes),
            close=response.close,
        )


def _chunks(url: str, response: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    connection = response.connection
    try:
        # read1 gives what has come: a sender of one byte now and then is seen, not waited for
        while chunk := _piece(connection, response):
            yield chunk
        response.release_conn()
    except HTTPError as fault:
        raise _unreachable(url, fault) from fault
    finally:
        if not response.closed:
            response.close()


def _piece(connection: Any, response: Any) -> bytes:
    with connection.within(HEAD_SECONDS):
        piece: bytes = response.read1(CHUNK, decode_content=False)
        return piece


class _Watched:
    """Of a connection: breaks off what takes too long as a whole, not only between two bytes.

    A timeout of the socket begins anew with each byte, so that one now and then holds it for ever.
    """

    host: str
    sock: socket.socket | None
    _used: socket.socket | None = None  # stays when the connection lets its socket go

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raise UnreachableError when the work inside takes longer."""
        late = threading.Event()
        timer = threading.Timer(seconds, self._break_off, (late,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if late.is_set():  # a head that was cut off reads as a short one
                raise UnreachableError(self.host, f"must answer within {seconds:g} s")

    def connect(self) -> None:
        """Open the socket, with its handshake."""
        with self.within(HEAD_SECONDS):
            super().connect()  # type: ignore[misc]  # the other class is a connection
            self._used = self.sock

    def getresponse(self) -> Any:
        """Read the head of a reply."""
        with self.within(HEAD_SECONDS):
            return super().getresponse()  # type: ignore[misc]

    def _break_off(self, late: threading.Event) -> None:
        late.set()
        open_one = self.sock or self._used
        if open_one is not None:
            with suppress(OSError):  # it ended meanwhile
                socket.socket.shutdown(open_one, socket.SHUT_RDWR)


def _pool(**trust: Any) -> Any:
    import urllib3

    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=2, **trust)
    pool.pool_classes_by_scheme = _watched_pools()
    return pool


def _watched_pools() -> dict[str, Any]:
    """urllib3's pools with connections that are :class:`_Watched`."""
    from urllib3 import connection, connectionpool

    class HTTPConnection(_Watched, connection.HTTPConnection):
        pass

    class HTTPSConnection(_Watched, connection.HTTPSConnection):
        pass

    class PlainPool(connectionpool.HTTPConnectionPool):
        ConnectionCls = HTTPConnection

    class SecurePool(connectionpool.HTTPSConnectionPool):
        ConnectionCls = HTTPSConnection

    return {"http": PlainPool, "https": SecurePool}


def _unreachable(url: str, fault: Exception) -> UnreachableError:
    cause = fault.args[0] if fault.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NotBelievedError(
            f"server of {url}",
            "must show a certificate that this device believes",
            got=cause.verify_message,
            todo="Give the device the control plane's ca.pem; see docs/how-to/devices.md",
        )
    return UnreachableError(url, "must answer", got=fault.args[0] if fault.args else repr(fault))


def bounded(what: str, chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """``chunks`` as they come.

    Raises:
        ProtocolError: there are more than ``max_bytes``.
    """
    came = 0
    for chunk in chunks:
        came += len(chunk)
        if came > max_bytes:
            raise ProtocolError(f"reply of {what}", f"must have at most {max_bytes} bytes")
        yield chunk


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The slowest reply that is waited for; a slower one is broken off."""

    bytes_per_second: float = 1024
    window_seconds: float = 20


class Allowance:
    """A token bucket: at most ``BURST_SECONDS`` worth of bytes at once, then as the rate allows."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._free = clock, float("-inf")

    def spend(self, size: int, bytes_per_second: float) -> None:
        """Wait until ``size`` bytes that came are within the rate."""
        now = self._clock.monotonic()
        self._free = max(self._free, now - BURST_SECONDS) + size / bytes_per_second
        while (wait := self._free - self._clock.monotonic()) > 0:
            self._clock.sleep(min(wait, NAP_SECONDS))


def paced(what: str, chunks: Iterator[bytes], clock: Clock, pace: Pace) -> Iterator[bytes]:
    """``chunks`` as they come; what was yielded before an error may be kept.

    Only the time in which a chunk is waited for counts, not what whoever takes it does with it.

    Raises:
        UnreachableError: over a window of time they came slower than ``pace``.
    """
    passed, came = 0.0, 0
    while True:
        asked = clock.monotonic()
        chunk = next(chunks, None)
        passed += clock.monotonic() - asked
        if chunk is None:
            return
        yield chunk
        came += len(chunk)
        if passed < pace.window_seconds:
            continue
        if came < pace.bytes_per_second * passed:
            raise UnreachableError(
                what,
                f"must come at {pace.bytes_per_second:.0f} bytes/s or more",
                got=f"{came / passed:.0f} bytes/s over {passed:.0f} s",
            )
        passed, came = 0.0, 0
