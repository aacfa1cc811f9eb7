"""What every endpoint of the control plane works with."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop.clock import Clock
from edgeloop.errors import NotListedError
from edgeloop.fleet.database import Database
from edgeloop.fleet.served import Served
from edgeloop.fleet.settings import Listing, Settings
from edgeloop.protocol.messages import Listed


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One control plane: its settings, its database, its clock, what is signed and served."""

    settings: Settings
    database: Database
    clock: Clock
    listing: Listing
    served: Served

    def listed(self, name: str, channel: str, version: int) -> Listed:
        """A channel's signed line of a version.

        Raises:
            NotListedError: the channel's list does not have it, or its floor is above.
        """
        listing = self.listing(name, channel)
        line = next((one for one in listing.releases if one.version == version), None)
        if line is None or version < listing.floor:
            known = [str(r.version) for r in listing.releases if r.version >= listing.floor]
            raise NotListedError(
                f"release {version} of {name}",
                f"must be on the signed list of channel {channel}",
                todo=f"Listed, and not below floor {listing.floor}: {', '.join(known) or 'none'}",
            )
        return line

    def offers(self, name: str, channel: str, digest: str) -> bool:
        """Whether a bundle is on its channel's signed list, and not below the floor."""
        listing = self.listing(name, channel)
        line = listing.find(digest)
        return line is not None and line.version >= listing.floor
