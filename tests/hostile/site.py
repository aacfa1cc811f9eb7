"""A real HTTP server that lies as the test says, and a device that asks it by its own way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.transport import Pace, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.protocol import keys
from edgeloop.release.client import Channel
from edgeloop.release.repository import Repository

Body = Callable[[], Iterator[bytes]]  # pieces without a length before them
QUICK = Pace(bytes_per_second=1024, window_seconds=0.3)


class Site:
    """Serves ``folder`` on loopback. ``lies``: end of a path -> what comes in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lies: dict[str, bytes | Body] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> bytes | Body | None:
        self.asked.append(path)
        for ending, lie in self.lies.items():
            if path.endswith(ending):
                return lie
        file = self.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def _handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.answer(self.path)
                self.send_response(404 if body is None else 200)
                if callable(body):
                    self.end_headers()
                    with suppress(OSError):  # the device has hung up: what it should do
                        for piece in body():
                            self.wfile.write(piece)
                    return
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


class Visitor:
    """A device's channel over its real transport; ``came`` counts the bytes that it took."""

    def __init__(
        self,
        site: Site,
        repository: Repository,
        folder: Path,
        *,
        clock: Clock | None = None,
        root: bytes | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.came: dict[str, int] = {}
        clock = clock or SystemClock()
        self.plane = ControlPlane(
            site.url, keys.generate(), "d1", Urllib3Transport(), SystemClock(), pace=pace
        )
        self.channel = Channel(
            folder,
            root or repository.root(),
            self._fetch,
            f"{site.url}/metadata",
            f"{site.url}/targets",
            "sorter",
            "stable",
            clock=clock,
        )

    def _fetch(self, url: str, most: int) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        for chunk in self.plane.fetch(url, most):
            self.came[name] = self.came.get(name, 0) + len(chunk)
            yield chunk

    def sync(self) -> bytes:
        """The manifest of the newest release, as an agent gets it."""
        return self.channel.manifest(self.channel.refresh().releases[-1])

    def versions(self) -> list[int]:
        return [line.version for line in self.channel.refresh().releases]
