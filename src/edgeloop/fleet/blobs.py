"""Serves bytes: TUF metadata and blobs by digest, resumable, each request in a log.

Only blobs of signed releases are served. Requests need no signature, since these bytes
may come from anywhere; one that a known device signed is logged with that device's id.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
from fastapi import APIRouter, Depends, Header
from starlette.responses import Response

from edgeloop.errors import EdgeloopError, NotFoundError, ProtocolError
from edgeloop.fleet.calls import Call, identify
from edgeloop.fleet.device_api import CallOf, PlaneOf
from edgeloop.fleet.plane import Plane
from edgeloop.protocol.signatures import HEADERS
from edgeloop.types import Json

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

router = APIRouter(tags=["bytes"])
CHUNK = 256 << 10
OK, PARTIAL, UNSATISFIABLE = 200, 206, 416
_HEX = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # so never "..", nor a hidden file
_PARTS = ("metadata", "targets")  # of the repository; nothing else in its folder is for devices
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_log_lock = threading.Lock()


class FileSlice(Response):
    """Bytes ``first`` to ``last`` of a file, in chunks; logs what was sent when it is over."""

    def __init__(self, file: Path, first: int, last: int, status: int, log: BlobLog) -> None:
        self.body, self.background, self.status_code = b"", None, status
        self._file, self._first, self._last, self._log = file, first, last, log
        size = file.stat().st_size
        headers = {"Content-Length": str(max(last - first + 1, 0)), "Accept-Ranges": "bytes"}
        if status == PARTIAL:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        if status == UNSATISFIABLE:
            headers["Content-Range"] = f"bytes */{size}"
        self.media_type = "application/octet-stream"
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del receive
        sent = 0
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            if scope["method"] != "HEAD":
                async for chunk in self._chunks():
                    part = {"body": chunk, "more_body": True}
                    await send({"type": "http.response.body", **part})
                    sent += len(chunk)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._log.write(offset=self._first, sent=sent, status=self.status_code)

    async def _chunks(self) -> AsyncIterator[bytes]:
        left = self._last - self._first + 1
        async with await anyio.open_file(self._file, "rb") as file:
            await file.seek(self._first)
            while left > 0 and (chunk := await file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk


class BlobLog:
    """One request's line in the log of bytes."""

    def __init__(self, plane: Plane, call: Call, path: str, digest: str | None) -> None:
        self._file, self._clock = plane.settings.blob_log, plane.clock
        self._known: Json = {"device": _signer(plane, call), "path": path, "digest": digest}

    def write(self, *, offset: int, sent: int, status: int) -> None:
        """Append the line, whole."""
        figures = {"offset": offset, "bytes": sent, "status": status}
        line = json.dumps({"time": self._clock.now(), **self._known, **figures}) + "\n"
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with _log_lock, os.fdopen(descriptor, "ab", buffering=0) as file:
            file.write(line.encode())


def _signer(plane: Plane, call: Call) -> str | None:
    if HEADERS[1].lower() not in call.headers:
        return None
    try:
        return identify(plane, call).key_id
    except EdgeloopError:
        return None  # who may not be believed is nobody; the bytes are for everybody


def tuf_file(path: str, plane: PlaneOf) -> Path:
    """A file of the repository's metadata or targets, and nothing outside them.

    Raises:
        NotFoundError: there is none at that path.
    """
    root = plane.settings.repository.resolve()
    segments = path.split("/")
    plain = segments[0] in _PARTS and all(_SEGMENT.fullmatch(one) for one in segments)
    file = (root / path).resolve() if plain else root
    if not file.is_relative_to(root) or not file.is_file():
        raise NotFoundError(f"file {path!r}", "must be in the repository that is served here")
    return file


def blob_file(digest: str, plane: PlaneOf) -> Path:
    """A blob of the layout that belongs to a signed release.

    Raises:
        NotFoundError: no such blob, or it belongs to none.
    """
    file = plane.settings.layout / "blobs" / "sha256" / digest
    served = _HEX.fullmatch(digest) and f"sha256:{digest}" in plane.served
    if not served or not file.is_file():
        raise NotFoundError(f"blob sha256:{digest}", "must belong to a release that is signed here")
    return file


Wanted = Annotated[str, Header(alias="Range")]


@router.head("/tuf/{path:path}", include_in_schema=False)
@router.get("/tuf/{path:path}", response_class=Response)
def tuf(
    path: str,
    file: Annotated[Path, Depends(tuf_file)],
    plane: PlaneOf,
    call: CallOf,
    wanted: Wanted = "",
) -> Response:
    """A file of the TUF repository."""
    return _slice(file, wanted, BlobLog(plane, call, f"/tuf/{path}", None))


@router.head("/blobs/sha256/{digest}", include_in_schema=False)
@router.get("/blobs/sha256/{digest}", response_class=Response)
def blob(
    digest: str,
    file: Annotated[Path, Depends(blob_file)],
    plane: PlaneOf,
    call: CallOf,
    wanted: Wanted = "",
) -> Response:
    """A blob by the sha256 of its bytes."""
    log = BlobLog(plane, call, f"/blobs/sha256/{digest}", f"sha256:{digest}")
    return _slice(file, wanted, log)


def _slice(file: Path, wanted: str, log: BlobLog) -> FileSlice:
    size = file.stat().st_size
    if not wanted:
        return FileSlice(file, 0, size - 1, OK, log)
    asked = _RANGE.fullmatch(wanted)
    if asked is None:
        raise ProtocolError("header Range", "must be bytes=<first>-[<last>]", got=repr(wanted))
    first = int(asked[1])
    last = min(int(asked[2] or size - 1), size - 1)
    if first > last:
        return FileSlice(file, first, first - 1, UNSATISFIABLE, log)
    return FileSlice(file, first, last, PARTIAL, log)
