"""The control plane as a process: the application, its tick, and an orderly start and end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Response

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import PortInUseError
from edgeloop.fleet import (
    blobs,
    conduct,
    device_api,
    factory_api,
    faults,
    operator_api,
    operators,
    peers,
    tls,
)
from edgeloop.fleet.authority import EVERYWHERE
from edgeloop.fleet.clients import Clients
from edgeloop.fleet.database import Database
from edgeloop.fleet.gate import Gate
from edgeloop.fleet.plane import Plane
from edgeloop.fleet.served import Served
from edgeloop.fleet.settings import Listing, Settings, listing_of
from edgeloop.fleet.views import Health
from edgeloop.orphans import when_parent_ends
from edgeloop.protocol.messages import VERSION

logger = logging.getLogger(__name__)
UNAVAILABLE = 503
LATE = 30.0  # seconds without a tick after which the control plane is not healthy
GRACE = 3  # seconds that open requests have at the end
GOODBYE = 0.5  # seconds that a client has to close its side of TLS


def create_app(settings: Settings, clock: Clock, listing: Listing | None = None) -> FastAPI:
    """The application on its database, which is made or brought up to date first.

    ``listing`` gives a channel's signed list; without it, it is read from the repository.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    plane = Plane(
        settings=settings,
        database=Database(settings.database_url),
        clock=clock,
        listing=listing or listing_of(settings.repository),
        served=Served(settings.repository),
    )
    operators.ensure_first(plane)
    app = FastAPI(
        title="edgeloop control plane",
        version=str(VERSION),
        description="Devices sign each request (RFC 9421); operators bear a token.",
        lifespan=_ticking,
    )
    app.state.plane, app.state.ticked, app.state.began = plane, None, clock.monotonic()
    for module in (device_api, operator_api, factory_api, blobs):
        app.include_router(module.router)
    app.include_router(device_api.signed_router)
    app.include_router(device_api.first_router)
    app.get("/healthz", tags=["operators"])(_health(app))
    faults.install(app)
    app.add_middleware(Gate, clock=clock)
    return app


def tick(app: FastAPI) -> int:
    """Apply the rules of every rollout once; how many decisions they took."""
    plane: Plane = app.state.plane
    with plane.database.begin() as session:
        decisions = conduct.tick(session, plane.clock.now())
    app.state.ticked = plane.clock.monotonic()
    return decisions


def _health(app: FastAPI) -> Any:
    def health(response: Response) -> Health:
        """Whether it answers, and the rules are applied."""
        now, ticked = app.state.plane.clock.monotonic(), app.state.ticked
        ago = None if ticked is None else now - ticked
        well = now - (app.state.began if ticked is None else ticked) < LATE
        response.status_code = 200 if well else UNAVAILABLE
        status = "ok" if well else "rules are not applied"
        time = app.state.plane.clock.now()
        return Health(status=status, protocol=VERSION, ticked=ago, time=time)

    return health


@asynccontextmanager
async def _ticking(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(_tick_forever(app))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    app.state.plane.database.close()


async def _tick_forever(app: FastAPI) -> None:
    while True:
        try:
            await anyio.to_thread.run_sync(tick, app)
        except Exception:  # a tick that fails is said, and shows in health; the task must not end
            logger.exception("tick.failed")
        await asyncio.sleep(app.state.plane.settings.tick_seconds)


def serve(settings: Settings, *, until_stdin_closes: bool = False) -> None:
    """Run until SIGTERM or SIGINT, or until stdin reaches its end, so that no orphan stays.

    ``fleet.json`` in the folder says url and pid meanwhile.

    Raises:
        PortInUseError: another program listens on the address; nothing was started.
        CertificateError: it cannot serve https with the certificate that it has.
    """
    with _bound(settings) as listener:
        signal.signal(signal.SIGTERM, _leave)
        clock = SystemClock()
        config = _config(settings, create_app(settings, clock), clock)
        server = uvicorn.Server(config)
        if until_stdin_closes:
            when_parent_ends(lambda: setattr(server, "should_exit", True))
        with _announced(settings, listener), _fresh(config.ssl, settings, clock):
            _run(server, listener)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    if server.config.ssl is None:
        server.run(sockets=[listener])
        return
    with asyncio.Runner(loop_factory=_BriefGoodbyes) as runner:
        runner.run(server.serve(sockets=[listener]))


class _BriefGoodbyes(asyncio.SelectorEventLoop):
    """At the end of TLS both sides say goodbye; idle clients do not, and would be waited for."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """As the library does, with our time limit."""
        options["ssl_shutdown_timeout"] = GOODBYE
        return await super().create_server(*args, **options)


def _config(settings: Settings, app: FastAPI, clock: Clock) -> uvicorn.Config:
    cert, key = tls.files(settings, settings.tls, clock.now()) if settings.tls else (None, None)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=cert,
        ssl_keyfile=key,
        http=peers.PeerProtocol,
    )
    config.load()  # makes the context of TLS
    if config.ssl is not None and settings.clients is not Clients.OFF:
        peers.ask_for(config.ssl, settings, clock.now())
    return config


@contextmanager
def _fresh(context: ssl.SSLContext | None, settings: Settings, clock: Clock) -> Iterator[None]:
    """Within, the certificate is renewed when it is time."""
    stop = threading.Event()
    if context is not None:
        told = (context, settings, clock, stop)
        threading.Thread(target=tls.keep_fresh, args=told, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _leave(_signal: int, _frame: object) -> None:
    sys.exit(0)  # uvicorn raises the signal again after its own orderly end


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    # asyncio turns Nagle's delay (40 ms a reply) off only where the protocol is named
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"address {settings.host}:{settings.port}",
            "must be free to listen on",
            got=error.strerror,
            todo="End the other program, or choose another port (0 takes any free one)",
        ) from error
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def _announced(settings: Settings, listener: socket.socket) -> Iterator[None]:
    host, port = listener.getsockname()
    scheme = "http" if settings.tls is None else "https"
    url = f"{scheme}://{'127.0.0.1' if host in EVERYWHERE else host}:{port}"
    told = {"url": url, "pid": os.getpid()}
    if settings.tls and settings.tls.cert:  # for other names than the one to ask it by here
        told["fingerprint"] = tls.fingerprint(settings.tls.cert)
    draft = settings.running_file.with_suffix(".draft")
    draft.write_text(json.dumps(told) + "\n")
    draft.rename(settings.running_file)
    logger.info("serve.done url=%s", url)
    try:
        yield
    finally:
        settings.running_file.unlink(missing_ok=True)
