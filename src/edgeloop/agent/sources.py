"""Where the bytes of a blob can lie: a web folder, a registry, a folder of this device, the server.

Each gives the bytes of a digest from a byte on, at its own pace, and verifies nothing.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from edgeloop.agent.transport import Reply
from edgeloop.errors import UnreachableError

if TYPE_CHECKING:
    from edgeloop.agent.transport import Transport

CHUNK = 1 << 20
MOST_REDIRECTS = 3
LARGEST_TOKEN = 1 << 16  # bytes of a registry's answer about who asks, which is nobody
REGISTRY = "oci+"
FOLDER = "file://"
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


Opened: TypeAlias = tuple[int, Reply]


class Unfound(UnreachableError):  # noqa: N818  (no fault: the next place is asked)
    """A place that is well does not have this blob."""


def refusal(url: str, status: int) -> UnreachableError:
    """What an answer without bytes means: there are none, or something is wrong."""
    kind = Unfound if status in {404, 410} else UnreachableError
    return kind(url, "must answer with 200 or 206", got=status)


class Source(Protocol):
    """One place."""

    @property
    def name(self) -> str:
        """As it is said in the log."""

    def open(self, digest: str, first: int, most: int) -> Opened:
        """A blob from ``first`` on, ``most`` bytes and no more.

        More exactly: how many bytes come before those that were asked for, and a reply, which
        whoever asked closes. Both raise Unfound when it does not have the blob, UnreachableError
        or ProtocolError for all else.
        """


def source(address: str, transport: Transport) -> Source:
    """The place that an address of the settings names; see ``settings.Mirror``."""
    if address.startswith(FOLDER):
        return Folder(path=Path(unquote(urlsplit(address).path)))
    if address.startswith(REGISTRY):
        parts = urlsplit(address.removeprefix(REGISTRY).rstrip("/"))
        base = f"{parts.scheme}://{parts.netloc}/v2{parts.path}/blobs/sha256:"
    else:
        base = f"{address.rstrip('/')}/"
    return Web(name=address, base=base, transport=transport)


@dataclass(frozen=True, kw_only=True)
class Server:
    """The control plane, or the address of blobs that it gave: asked as ``read`` does it."""

    name: str
    read: Callable[[str, int, int], Reply]  # (digest, first byte, most bytes) -> 200 or 206

    def open(self, digest: str, first: int, most: int) -> Opened:
        """See :class:`Source`."""
        reply = self.read(digest, first, first + most)
        return (0 if reply.status == 206 else first), reply


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of this device, such as a stick's: ``<path>/<64 hex digits>``."""

    path: Path

    @property
    def name(self) -> str:
        """As it is said in the log."""
        return f"{FOLDER}{self.path}"

    def open(self, digest: str, first: int, most: int) -> Opened:
        """See :class:`Source`. What is no plain file (a pipe, a device, a link) is not read."""
        pieces = _pieces(self.path / digest.removeprefix("sha256:"), first, most)
        return 0, Reply(status=200, headers={}, chunks=pieces, close=pieces.close)


def _pieces(file: Path, first: int, most: int) -> Generator[bytes]:
    handle = _handle(file)
    try:
        os.lseek(handle, first, os.SEEK_SET)
        while most > 0 and (chunk := os.read(handle, min(CHUNK, most))):
            most -= len(chunk)
            yield chunk
    except OSError as fault:  # a stick that was pulled out
        raise UnreachableError(f"file {file}", "must be readable", got=fault.strerror) from fault
    finally:
        os.close(handle)


def _handle(file: Path) -> int:
    try:
        # NONBLOCK: not to wait for a pipe's other end
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise Unfound(f"file {file}", "must be there", got=fault.strerror) from fault
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnreachableError(f"file {file}", "must be a plain file")
    return handle


@dataclass(frozen=True, kw_only=True)
class Web:
    """Whatever answers GET ``<base><64 hex digits>``, itself or by sending the asker on."""

    name: str
    base: str
    transport: Transport

    def open(self, digest: str, first: int, most: int) -> Opened:
        """See :class:`Source`."""
        url = f"{self.base}{digest.removeprefix('sha256:')}"
        wanted = {"Range": f"bytes={first}-"} if first else {}
        reply = self._follow(url, wanted, first + most)
        if reply.status == 401 and (token := self._anonymous(reply)):
            allowed = {**wanted, "Authorization": f"Bearer {token}"}
            reply = self._follow(url, allowed, first + most)
        if reply.status not in {200, 206}:
            reply.close()
            raise refusal(url, reply.status)
        return (0 if reply.status == 206 else first), reply

    def _follow(self, url: str, headers: Mapping[str, str], most: int) -> Reply:
        """The reply to a GET, a few addresses on; a token is for the first host alone."""
        for _ in range(MOST_REDIRECTS + 1):
            reply = self.transport.send("GET", url, headers, b"", most)
            place = reply.headers.get("location", "")
            if reply.status not in {301, 302, 303, 307, 308} or not place:
                return reply
            reply.close()
            host, url = urlsplit(url).netloc, self._next(url, place)
            if urlsplit(url).netloc != host:
                headers = {name: value for name, value in headers.items() if name == "Range"}
        raise UnreachableError(self.name, f"must send on at most {MOST_REDIRECTS} times")

    def _next(self, url: str, place: str) -> str:
        """Where a reply sends the asker: over https, unless this place is asked over http."""
        found = urljoin(url, place)
        if urlsplit(found).scheme not in {"https", urlsplit(self.base).scheme}:
            raise UnreachableError(self.name, "must send on to https", got=found)
        return found

    def _anonymous(self, refused: Reply) -> str:
        """The token that a registry gives to anybody; "" when it gives none."""
        refused.close()
        kind, _, rest = refused.headers.get("www-authenticate", "").partition(" ")
        told = dict(CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or "realm" not in told:
            return ""
        query = urlencode({name: told[name] for name in ("service", "scope") if name in told})
        reply = self._follow(self._next(told["realm"], f"?{query}"), {}, LARGEST_TOKEN)
        try:
            said = json.loads(b"".join(reply.chunks))
            return str(said.get("token") or said.get("access_token") or "")
        except (ValueError, AttributeError):
            return ""
