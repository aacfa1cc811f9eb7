"""HTTP without a network: an ASGI application, called in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from edgeloop.agent.transport import Reply, bounded
from edgeloop.errors import UnreachableError

if TYPE_CHECKING:
    from types import TracebackType

CHUNK = 1 << 16


class MemoryTransport:
    """An agent's ``Transport`` to ``app``. A context manager: within, the app's lifespan runs.

    ``down = True`` cuts the network. ``requests`` counts those that reached the app.
    """

    def __init__(self, app: Any) -> None:
        from starlette.testclient import TestClient

        self._client = TestClient(app, follow_redirects=False)
        self.down = False
        self.requests = 0

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        """See :class:`edgeloop.agent.transport.Transport`."""
        if self.down:
            raise UnreachableError(url, "must answer", got="the network is cut")
        self.requests += 1
        response = self._client.request(method, url, headers=dict(headers), content=body)
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            chunks=bounded(url, _pieces(response.content), max_bytes),
        )

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.__exit__(kind, fault, trace)


def _pieces(body: bytes) -> Iterator[bytes]:
    for first in range(0, len(body), CHUNK):
        yield body[first : first + CHUNK]
