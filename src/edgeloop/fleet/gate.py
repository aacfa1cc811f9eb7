"""What a request must have before the application sees it: a version, and a bounded body.

Every reply carries the protocol's version and the server's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders

from edgeloop.errors import ProtocolError
from edgeloop.fleet.faults import body_of
from edgeloop.protocol.messages import OLDEST, TIME_HEADER, VERSION, VERSION_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edgeloop.clock import Clock

LARGEST = {"/v1/windows": 32 << 20, "/v1/samples": 32 << 20}  # bytes of a body, by path
LARGEST_ELSE = 256 << 10
MOST_DIGITS = 9  # of a number in a header; of thousands of them int() raises
BAD_REQUEST, LENGTH_REQUIRED, TOO_LARGE, UPGRADE = 400, 411, 413, 426


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app, self._clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[VERSION_HEADER] = str(VERSION)
                headers[TIME_HEADER] = f"{self._clock.now():.3f}"
            await send(message)

        app = refusal(scope["path"], Headers(scope=scope)) or self._app
        await app(scope, receive, told)


def refusal(
    path: str, headers: Headers, *, oldest: int = OLDEST, newest: int = VERSION
) -> JSONResponse | None:
    """Why a request is not passed on, as a reply; None when it is."""
    if path.startswith("/v1/") and (reply := _version(headers, oldest, newest)):
        return reply
    return _length(path, headers)


def _version(headers: Headers, oldest: int, newest: int) -> JSONResponse | None:
    text = headers.get(VERSION_HEADER, "1")  # the first version's agents do not say it
    if not text.isdecimal():
        rule = "must be a number"
        return _reply(BAD_REQUEST, f"header {VERSION_HEADER}", rule, repr(text[:80]))
    version = int(text[:MOST_DIGITS])
    if not oldest <= version <= newest:
        rule = f"must be {oldest} to {newest} here"
        todo = "Update the agent" if version < oldest else "Update the control plane first"
        return _reply(UPGRADE, f"header {VERSION_HEADER}", rule, text[:80], todo)
    return None


def _length(path: str, headers: Headers) -> JSONResponse | None:
    if "transfer-encoding" in headers:
        thing = "request with a body"
        return _reply(LENGTH_REQUIRED, thing, "must state its Content-Length", "none")
    text, largest = headers.get("content-length", "0"), LARGEST.get(path, LARGEST_ELSE)
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) > largest:
        rule = f"must have at most {largest} bytes"
        return _reply(TOO_LARGE, f"body for {path}", rule, text[:80], "Send less at once")
    return None


def _reply(status: int, thing: str, rule: str, got: str, todo: str = "") -> JSONResponse:
    error = ProtocolError(thing, rule, got=got, todo=todo)
    return JSONResponse(body_of(error), status_code=status)
