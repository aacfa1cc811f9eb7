"""One channel of one model, as signed metadata tells it: its list, and the manifests on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from edgeloop.errors import NotListedError, ProtocolError
from edgeloop.protocol.messages import ChannelList, Listed
from edgeloop.release.trusted_store import STAYS, Fetch, TrustedStore

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.clock import Clock


class Channel:
    """The list of ``name`` on ``channel``. The first five and ``clock`` as for TrustedStore."""

    def __init__(
        self,
        folder: Path,
        root: bytes,
        fetch: Fetch,
        metadata_url: str,
        targets_url: str,
        name: str,
        channel: str,
        *,
        clock: Clock,
    ) -> None:
        self._name, self._channel = name, channel
        place = re.escape(f"{channel}/_{name}.")
        # of this model alone; one that a kill cut short has the longer name
        self._manifest = re.compile(rf"\.?{place}(\d+)\.json(?:\.new)?")
        self._trusted = TrustedStore(
            folder,
            root,
            fetch,
            (metadata_url, targets_url),
            clock=clock,
            thing=f"signed metadata of channel {channel!r}",
        )

    def refresh(self) -> ChannelList:
        """The newest list of the channel.

        Raises:
            SignatureError: something is not signed by the keys that root names, or was changed.
            StaleMetadataError: metadata is expired, or older than what this device has seen.
            NotListedError: the channel has no list for this model.
            ProtocolError: the list is signed, and this agent cannot read it.
            UnreachableError: the repository did not answer.
            DiskFullError: no room for what is to be trusted; what was trusted is there.
        """
        self._trusted.refresh()
        listing = self._listed(self._trusted.read(f"{self._channel}/{self._name}.json"))
        self._tidy(listing)
        return listing

    def manifest(self, listed: Listed) -> bytes:
        """The manifest of a listed bundle; :meth:`refresh` comes first.

        Raises:
            NotListedError, SignatureError, UnreachableError, DiskFullError: as for ``refresh``.
        """
        return self._trusted.read(f"{self._channel}/_{self._name}.{listed.version}.json")

    def _tidy(self, listing: ChannelList) -> None:
        """Forget the manifests of releases that are listed no more; a slot has its own copy."""
        listed = {str(line.version) for line in listing.releases}

        def is_useless(path: str) -> bool:
            found = self._manifest.fullmatch(path)
            return found is not None and found[1] not in listed

        self._trusted.forget(is_useless)

    def _listed(self, text: bytes) -> ChannelList:
        """The list, if it is of this model and channel."""
        thing = f"list of {self._channel}/{self._name}"
        try:
            listing = ChannelList.model_validate_json(text)
        except ValidationError as fault:
            rule, got = "must be one that this agent can read", f"{fault.error_count()} faults"
            raise ProtocolError(thing, rule, got=got, todo=STAYS) from fault
        if (listing.name, listing.channel) != (self._name, self._channel):
            got = f"one of {listing.channel}/{listing.name}"
            raise NotListedError(thing, "must be of this model and channel", got=got, todo=STAYS)
        return listing
