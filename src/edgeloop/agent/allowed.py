"""The rule of one authority: what a channel's signed list lets a device install."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgeloop.errors import NotListedError

if TYPE_CHECKING:
    from edgeloop.protocol.messages import ChannelList, Listed, ReleaseRef


class SignedList(Protocol):
    """The signed side: :class:`edgeloop.release.client.Channel`."""

    def refresh(self) -> ChannelList:
        """The list as it is signed now."""

    def manifest(self, listed: Listed) -> bytes:
        """The signed manifest of a line."""


def find_allowed(listing: ChannelList, wish: ReleaseRef) -> Listed:
    """The signed line of a release that this channel's devices may install.

    Raises:
        NotListedError: it is not on the list, is below the floor, or has another version there.
    """
    thing = f"release {wish.version} of {wish.channel}/{wish.name}"
    listed = listing.find(wish.digest)
    if listed is None or listed.version != wish.version:
        raise NotListedError(
            thing,
            "must be on the channel's signed list",
            got=f"bundle {wish.digest}",
            todo="It was delisted, or never signed; the device keeps the slot that it has",
        )
    if listed.version < listing.floor:
        raise NotListedError(thing, f"must be {listing.floor} or newer, the channel's floor")
    return listed
