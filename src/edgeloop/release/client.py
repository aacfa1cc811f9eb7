"""The device's side of trust: what a channel lists, by signed metadata alone (TUF's client)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater

from edgeloop.errors import (
    NotListedError,
    SignatureError,
    StaleMetadataError,
    UnreachableError,
)
from edgeloop.protocol.messages import ChannelList, Listed

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

Fetch = Callable[[str, int], Iterator[bytes]]  # (url, most bytes) -> chunks
LARGEST_FILE = 8 << 20  # bytes; the most that any signed file may have


class Channel:
    """One channel of one model, as signed metadata tells it.

    ``root`` is the first root metadata, given to the device out of band. ``fetch`` raises
    UnreachableError, with the HTTP status as ``got`` where there was one.
    """

    def __init__(
        self,
        folder: Path,
        root: bytes,
        fetch: Fetch,
        metadata_url: str,
        targets_url: str,
        name: str,
        channel: str,
    ) -> None:
        self._folder, self._root, self._fetcher = folder, root, _Fetcher(fetch)
        self._metadata_url, self._targets_url = metadata_url, targets_url
        self._name, self._channel = name, channel
        self._updater: Updater | None = None

    def refresh(self) -> ChannelList:
        """The newest list of the channel.

        Raises:
            SignatureError: something is not signed by the keys that root names, or was changed.
            StaleMetadataError: metadata is expired, or older than what this device has seen.
            NotListedError: the channel has no list for this model.
            UnreachableError: the repository did not answer.
        """
        for folder in ("metadata", "targets"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        with _converted(self._channel):
            self._updater = Updater(
                str(self._folder / "metadata"),
                self._metadata_url,
                str(self._folder / "targets"),
                self._targets_url,
                fetcher=self._fetcher,
                bootstrap=self._root,
            )
            self._updater.refresh()
        return ChannelList.model_validate_json(self._target(f"{self._name}.json"))

    def manifest(self, listed: Listed) -> bytes:
        """The manifest of a listed bundle; :meth:`refresh` comes first.

        Raises:
            NotListedError, SignatureError, UnreachableError: as for ``refresh``.
        """
        return self._target(f"_{self._name}.{listed.version}.json")

    def _target(self, name: str) -> bytes:
        if self._updater is None:
            raise NotListedError(f"channel {self._channel}", "must be refreshed before it is read")
        path = f"{self._channel}/{name}"
        with _converted(self._channel):
            info: TargetFile | None = self._updater.get_targetinfo(path)
            if info is None:
                raise NotListedError(f"target {path}", "must be on the signed list")
            cached = self._updater.find_cached_target(info)
            return Path(cached or self._updater.download_target(info)).read_bytes()


class _Fetcher(FetcherInterface):
    """python-tuf's seam, over ours."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch_bytes = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        chunks = self._fetch_bytes(url, LARGEST_FILE)
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


@contextmanager
def _converted(channel: str) -> Iterator[None]:
    """Turn python-tuf's exceptions into ours."""
    thing, stays = f"signed metadata of channel {channel!r}", "The device keeps the release it has"
    try:
        yield
    except exceptions.ExpiredMetadataError as fault:
        raise StaleMetadataError(thing, "must not be expired", got=fault, todo=stays) from fault
    except exceptions.BadVersionNumberError as fault:
        rule = "must not be older than what was seen"
        raise StaleMetadataError(thing, rule, got=fault, todo=stays) from fault
    except (exceptions.RepositoryError, exceptions.DownloadLengthMismatchError) as fault:
        rule = "must be whole and signed by trusted keys"
        raise SignatureError(thing, rule, got=fault, todo=stays) from fault
    except exceptions.DownloadError as fault:
        raise UnreachableError(thing, "must be reachable", got=fault) from fault
