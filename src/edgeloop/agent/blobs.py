"""Fetch files by digest: resumed, verified as they stream, bounded in size and in slowness.

The addresses are not trusted, so any cache near the device will do.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop import durable
from edgeloop.agent.transport import Pace, paced
from edgeloop.errors import DigestError, DiskFullError, ProtocolError, UnreachableError

if TYPE_CHECKING:
    from edgeloop.agent.transport import Reply
    from edgeloop.clock import Clock
    from edgeloop.types import Layer

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
RESERVE = 8 << 20  # bytes that a download leaves free, for logs and state
AT_ONCE = 2  # fetches of one blob, one right behind the other, that may give wrong bytes
MOST_WRONG = 5  # in all, before it is given up; between the others the agent backs off
PLAIN_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Read = Callable[[str, int, int], "Reply"]  # (digest, first byte, most bytes) -> reply


class Blobs:
    """The verified blobs under ``folder``. ``read`` asks the blob server."""

    def __init__(self, folder: Path, read: Read, clock: Clock, pace: Pace | None = None) -> None:
        self._folder, self._partial = folder / "blobs", folder / "partial"
        self._read, self._clock, self._pace = read, clock, pace or Pace()
        self._wrong: Counter[str] = Counter()  # digest -> fetches since the start that were wrong
        self._folder.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob lies once it was fetched.

        Raises:
            DigestError: this is no sha256 digest.
        """
        if not PLAIN_DIGEST.fullmatch(digest):
            raise DigestError(f"digest {digest!r}", "must be sha256: and 64 hex digits")
        return self._folder / digest.removeprefix("sha256:")

    def get(self, layer: Layer) -> Path:
        """The blob of ``layer``; fetched unless it is here.

        Raises:
            UnreachableError: the server broke off, or is slower than the pace; what came is kept.
                Or wrong bytes came, and may do so again: what came is removed.
            DigestError: the bytes had another digest or size the last time that is allowed.
            ProtocolError: there were more of them than the blob has, that time.
            DiskFullError: no room for it.
        """
        path = self.path(layer.digest)
        if not path.exists():
            partial = self._partial / path.name
            self.check_room([layer])
            with durable.room(partial):
                self._fetch_again(layer, partial)
                partial.chmod(0o444)
                durable.sync_file(partial)  # all of it: a line that broke left some unsynced
            durable.settle(partial, path)
            logger.debug("blob.done digest=%s bytes=%d", layer.digest, layer.size)
        return path

    @contextmanager
    def making(self, names: Sequence[str]) -> Iterator[list[Path]]:
        """Where blobs of these hex digests are made by somebody else; then they are in place.

        Whoever makes them has checked their digests, and that they last.
        """
        paths = [self._partial / name for name in names]
        with durable.room(self._folder / "blob"):
            yield paths
        for path in paths:
            path.chmod(0o444)
            durable.sync_file(path)
            durable.settle(path, self._folder / path.name)

    def beginning(self, hexdigits: str) -> list[Path]:
        """The blobs here whose digests begin so."""
        return [path for path in sorted(self._folder.iterdir()) if path.name.startswith(hexdigits)]

    def missing(self, layers: Iterable[Layer]) -> int:
        """How many bytes of all ``layers`` are not here yet."""
        return sum({layer.digest: self._missing(layer) for layer in layers}.values())

    def check_room(self, layers: Iterable[Layer]) -> None:
        """Return when there is room for all that is missing of ``layers``, and some to spare.

        Raises:
            DiskFullError: there is not; nothing was fetched.
        """
        self.check_space(self.missing(layers))

    def check_space(self, size: int) -> None:
        """Return when there is room for so many bytes, and some to spare.

        Raises:
            DiskFullError: there is not.
        """
        free, needed = shutil.disk_usage(self._folder).free, size + RESERVE
        if size and free < needed:
            raise DiskFullError(
                f"disk of {self._folder}",
                f"must have room for {needed} bytes",
                got=f"{free} bytes free",
                todo="Free space; the device keeps the slot that it has",
            )

    def verify(self, layer: Layer) -> None:
        """Read a blob again from the disk.

        Raises:
            DigestError: it has changed; it is removed, so that the next try fetches it.
        """
        path = self.path(layer.digest)
        hasher = hashlib.sha256()
        size = _feed(hasher, path)
        self._check_digest(layer, f"sha256:{hasher.hexdigest()}", size, path)

    def keep_only(self, needed: frozenset[str]) -> None:
        """Remove every blob that no slot needs, and what was half fetched."""
        names = {digest.removeprefix("sha256:") for digest in needed}
        for path in (*self._folder.iterdir(), *self._partial.iterdir()):
            if path.parent == self._partial or path.name not in names:
                path.unlink()

    def _missing(self, layer: Layer) -> int:
        """How many bytes of a blob are not here yet."""
        path = self.path(layer.digest)
        if path.exists():
            return 0
        partial = self._partial / path.name
        here = partial.stat().st_size if partial.exists() else 0
        return max(0, layer.size - here)

    def _fetch_again(self, layer: Layer, partial: Path) -> None:
        """Wrong bytes, of a cache or a broken line, are no reason to give up an update at once."""
        try:
            self._fetch(layer, partial)
        except (DigestError, ProtocolError) as fault:
            partial.unlink(missing_ok=True)
            self._count_wrong(layer, fault)
            self._fetch_again(layer, partial)
        self._wrong.pop(layer.digest, None)

    def _count_wrong(self, layer: Layer, fault: DigestError | ProtocolError) -> None:
        """Return when it may be fetched again at once."""
        self._wrong[layer.digest] += 1
        times = self._wrong[layer.digest]
        logger.warning("blob.wrong digest=%s times=%d fault=%s", layer.digest, times, fault)
        if times >= MOST_WRONG:
            del self._wrong[layer.digest]
            raise fault
        if times >= AT_ONCE:
            rule = "must come unchanged"
            raise UnreachableError(
                f"blob {layer.digest}", rule, got=f"other bytes, {times} times"
            ) from fault

    def _fetch(self, layer: Layer, partial: Path) -> None:
        partial.touch()
        hasher = hashlib.sha256()
        have = _feed(hasher, partial)
        if have < layer.size:
            reply = self._read(layer.digest, have, layer.size - have)
            if have and reply.status != 206:  # the server cannot resume: from the start
                reply.close()
                hasher, have = hashlib.sha256(), 0
                reply = self._read(layer.digest, 0, layer.size)
            with partial.open("ab" if have else "wb") as stream:
                for chunk in paced(f"blob {layer.digest}", reply.chunks, self._clock, self._pace):
                    stream.write(chunk)
                    hasher.update(chunk)
                    have += len(chunk)
        if have < layer.size:
            raise UnreachableError(
                f"blob {layer.digest}", f"must have {layer.size} bytes", got=f"only {have} so far"
            )
        self._check_digest(layer, f"sha256:{hasher.hexdigest()}", have, partial)

    def _check_digest(self, layer: Layer, got: str, size: int, path: Path) -> None:
        if (got, size) != (layer.digest, layer.size):
            path.unlink()
            raise DigestError(
                f"blob {layer.digest}",
                f"must have that digest and {layer.size} bytes",
                got=f"{got} and {size} bytes",
                todo="It is not installed; the device keeps the slot that it has",
            )


def _feed(hasher: hashlib._Hash, path: Path) -> int:
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
            size += len(chunk)
    return size
