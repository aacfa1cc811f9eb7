"""HTTP without a network: an ASGI application, called in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from edgeloop.agent.transport import Reply, bounded
from edgeloop.errors import UnreachableError

if TYPE_CHECKING:
    from types import TracebackType

CHUNK = 1 << 16


class MemoryTransport:
    """An agent's ``Transport`` to ``app``. A context manager: within, the app's lifespan runs.

    The app has an event loop of its own, which runs during each request alone: what it does by
    itself meanwhile, it does then. ``down = True`` cuts the network. ``requests`` counts those that
    reached the app.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()  # one request at a time, by whichever thread
        self.down = False
        self.requests = 0

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        """See :class:`edgeloop.agent.transport.Transport`."""
        if self.down:
            raise UnreachableError(url, "must answer", got="the network is cut")
        with self._lock:
            self.requests += 1
            asked = _asked(self._app, _scope(method, url, headers, body), body)
            status, about, came = self._loop.run_until_complete(asked)
        return Reply(
            status=status, headers=about, chunks=bounded(url, _pieces(bytes(came)), max_bytes)
        )

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        life = self._app(scope, self._said.get, self._heard.put)
        self._life = self._loop.create_task(life)
        self._loop.run_until_complete(self._told("lifespan.startup"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run_until_complete(self._told("lifespan.shutdown"))
        self._loop.run_until_complete(self._life)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _told(self, word: str) -> None:
        """Say a word of the lifespan, and wait for what the app says to it."""
        await self._said.put({"type": word})
        heard = await self._heard.get()
        if heard["type"] != f"{word}.complete":
            raise UnreachableError("app", f"must take {word}", got=heard.get("message"))


def _scope(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    parts = urlsplit(url)
    told = {"host": parts.netloc, **{name.lower(): value for name, value in headers.items()}}
    if body:
        told["content-length"] = str(len(body))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode("latin-1"),
        "root_path": "",
        "query_string": parts.query.encode("latin-1"),
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in told.items()],
        "client": ("memory", 0),
        "server": (parts.hostname, parts.port or 80),
        "state": {},
    }


async def _asked(
    app: Any, scope: dict[str, Any], body: bytes
) -> tuple[int, dict[str, str], bytearray]:
    """Status, headers with names in lower case, and the whole body."""
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(asked, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    head, came = said[0], bytearray()
    for message in said[1:]:
        came += message.get("body", b"")
    about = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in head["headers"]}
    return head["status"], about, came


def _pieces(body: bytes) -> Iterator[bytes]:
    for first in range(0, len(body), CHUNK):
        yield body[first : first + CHUNK]
