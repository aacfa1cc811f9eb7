"""What a device trusts of a repository: newest, never older than was seen, synced to its disk.

The workflow is python-tuf's. Beside it stand a time that has passed for certain (``trusted_time``)
and what was seen (``seen``), so that neither a wrong clock nor a lost cache lets anybody go back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface

from edgeloop import durable
from edgeloop.errors import (
    NotListedError,
    SignatureError,
    StaleMetadataError,
    UnreachableError,
)
from edgeloop.release import seen
from edgeloop.release.trusted_time import boot_id, released, signed_at, stamp
from edgeloop.release.tuf_client import TufClient

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Root

    from edgeloop.clock import Clock
    from edgeloop.release.seen import Seen

Fetch = Callable[[str, int], Iterator[bytes]]  # (url, most bytes) -> chunks
LARGEST_FILE = 8 << 20  # bytes; the most that any signed file may have
STAYS = "The device keeps the release it has"


class TrustedStore:
    """The repository at ``urls`` (metadata, targets), as ``folder`` keeps what is trusted of it.

    ``root`` is the first root metadata, given to the device out of band. ``fetch`` raises
    UnreachableError, with the HTTP status as ``got`` where there was one. Expiry is judged by
    ``clock``, and by a time that has passed for certain where that is later. ``thing`` is what
    messages call it.
    """

    def __init__(
        self,
        folder: Path,
        root: bytes,
        fetch: Fetch,
        urls: tuple[str, str],
        *,
        clock: Clock,
        thing: str = "signed metadata",
    ) -> None:
        self._folder, self._root, self._urls = folder, root, urls
        self._fetcher, self._clock, self._thing = _Fetcher(fetch), clock, thing
        self._client: TufClient | None = None
        self._certain = self._now = 0.0  # Unix seconds by which expiry was judged last

    def refresh(self) -> None:
        """Get the newest metadata of TUF's own roles.

        Raises:
            SignatureError: something is not signed by the keys that root names, or was changed.
            StaleMetadataError: metadata is expired, or older than what this device has seen.
            UnreachableError: the repository did not answer.
            DiskFullError: no room for what is to be trusted; what was trusted is there.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._converted():
            self._client = self._newest(self._seen())
            self._remember(self._client)

    def read(self, path: str) -> bytes:
        """A target; :meth:`refresh` comes first.

        Raises:
            NotListedError: no role lists it that may.
            SignatureError, StaleMetadataError, UnreachableError, DiskFullError: as for ``refresh``.
        """
        client = self._client
        if client is None:
            raise NotListedError(self._thing, "must be refreshed before it is read")
        with self._converted():
            info = client.get_targetinfo(path)
            self._remember(client)  # the role that lists it may have been read just now
            if info is None:
                raise NotListedError(f"target {path}", "must be on the signed list")
            return client.read_target(info)

    def forget(self, is_useless: Callable[[str], bool]) -> None:
        """Remove targets that nobody will ask for from the cache, by their paths.

        A removal that a power cut undoes is made again the next time, and a target that is asked
        for after all is fetched: nothing is synced here.
        """
        for file in (self._folder / "targets").iterdir():
            if is_useless(unquote(file.name)):
                file.unlink(missing_ok=True)

    def _seen(self) -> Seen:
        return seen.load(self._folder / "seen.json")

    def _newest(self, before: Seen) -> TufClient:
        """The newest metadata of TUF's own roles.

        Who stole a key may have signed a time far ahead. A root that replaces the key is read
        before anything counts as expired, and then that time is forgotten.
        """
        try:
            client = self._opened(before)
            client.refresh()
        except exceptions.ExpiredMetadataError:
            kept = before.under(_keys(client.root))
            if kept is before:
                raise
            client = self._opened(kept)
            client.refresh()
        return client

    def _opened(self, known: Seen) -> TufClient:
        client = TufClient(self._folder, self._root, self._urls, self._fetcher)
        self._certain, self._now = self._certain_by(client, known), self._clock.now()
        client.judge_by(max(self._certain, self._now))
        return client

    def _certain_by(self, client: TufClient, known: Seen) -> float:
        """A time that has passed for certain."""
        known_time = known.now(self._clock.monotonic(), boot_id())
        return max(released(), signed_at(client.root), known_time)

    def _remember(self, client: TufClient) -> None:
        """Keep what was seen, unless it is older than what was seen before."""
        before = self._seen()
        kept, versions = before.under(_keys(client.root)), client.versions()
        older = kept.older(client.root.version, versions)
        if older:
            rule = "must not be older than what was seen"
            raise StaleMetadataError(self._thing, rule, got=older, todo=STAYS)
        now = kept.model_copy(
            update={
                "root": client.root.version,
                "versions": {**kept.versions, **versions},
                "passed": max(self._certain_by(client, kept), signed_at(client.timestamp)),
                "monotonic": self._clock.monotonic(),
                "boot": boot_id(),
            }
        )
        if now.worth_saving(before):
            seen.save(self._folder / "seen.json", now)

    @contextmanager
    def _converted(self) -> Iterator[None]:
        """Turn python-tuf's exceptions, and a full disk, into ours."""
        rule = "must be whole and signed by trusted keys"
        try:
            with durable.room(self._folder, thing="disk of this device"):
                yield
        except exceptions.ExpiredMetadataError as fault:
            rule, got = "must not be expired", self._dated(fault)
            raise StaleMetadataError(self._thing, rule, got=got, todo=STAYS) from fault
        except exceptions.BadVersionNumberError as fault:
            rule = "must not be older than what was seen"
            raise StaleMetadataError(self._thing, rule, got=fault, todo=STAYS) from fault
        except (exceptions.RepositoryError, exceptions.DownloadLengthMismatchError) as fault:
            raise SignatureError(self._thing, rule, got=fault, todo=STAYS) from fault
        except exceptions.DownloadError as fault:
            raise UnreachableError(self._thing, "must be reachable", got=fault) from fault
        finally:
            self._fetcher.hang_up()

    def _dated(self, fault: Exception) -> str:
        """Name the clock where it is all that says so: it may be years ahead."""
        if self._now <= self._certain:
            return str(fault)
        now, certain = stamp(self._now), stamp(self._certain)
        return f"{fault} by this device's clock: it says {now}, and {certain} has surely passed"


def _keys(root: Root) -> tuple[str, ...]:
    """Who signs what is newest."""
    return tuple(sorted({*root.roles["timestamp"].keyids, *root.roles["snapshot"].keyids}))


class _Fetcher(FetcherInterface):
    """python-tuf's seam, over ours."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch_bytes = fetch
        self._under_way: Iterator[bytes] = iter(())

    def hang_up(self) -> None:
        """End a reply that is left before its end; python-tuf forgets what is too long."""
        if isinstance(self._under_way, Generator):
            self._under_way.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        self._under_way = chunks = self._fetch_bytes(url, LARGEST_FILE)
        try:
            first = next(chunks, b"")  # the status is known with the first chunk
        except UnreachableError as fault:
            if isinstance(fault.got, int):
                raise exceptions.DownloadHTTPError(str(fault), fault.got) from fault
            raise exceptions.DownloadError(str(fault)) from fault
        return self._rest(first, chunks)

    def _rest(self, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        try:
            yield from chunks
        except UnreachableError as fault:
            raise exceptions.DownloadError(str(fault)) from fault
