"""Where a control plane keeps its things and where it listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgeloop.fleet.clients import Clients
from edgeloop.protocol.messages import ChannelList

DATABASE_VARIABLE = "EDGELOOP_DATABASE"  # a URL may bear a password: no place for a command line
Listing: TypeAlias = Callable[[str, str], ChannelList]  # (name, channel) -> the signed list


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How https is served: with a person's ``cert`` and ``key``, or with an authority of its own.

    ``names`` are more names and addresses by which devices ask, beside the host.
    """

    cert: Path | None = None
    key: Path | None = None  # None where ``cert`` holds it too
    names: tuple[str, ...] = ()
    clients: Clients = Clients.OFF


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A control plane of one folder.

    ``repository`` is the TUF repository and ``layout`` the OCI image layout that it serves.
    ``database`` is an SQLAlchemy URL; empty means ``fleet.db`` in the folder. Port 0 takes any free
    one. Without ``tls`` it serves http, for a terminator in front.
    """

    folder: Path
    repository: Path
    layout: Path
    database: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    tls: Tls | None = None
    poll_seconds: float = 5.0  # what devices are told
    tick_seconds: float = 1.0  # how often the rules are applied by themselves

    @property
    def database_url(self) -> str:
        """The database's URL."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'fleet.db'}"

    @property
    def token_file(self) -> Path:
        """Where the first operator's token lies."""
        return self.folder / "operator.token"

    @property
    def running_file(self) -> Path:
        """Says url and pid while a server runs."""
        return self.folder / "fleet.json"

    @property
    def tls_folder(self) -> Path:
        """Certificates of its own authority."""
        return self.folder / "tls"

    @property
    def clients(self) -> Clients:
        """What devices must show here; a terminator in front has its own rule."""
        return self.tls.clients if self.tls else Clients.OFF

    @property
    def began_with_http(self) -> bool:
        """Whether it served without TLS before, so that its devices ask for http."""
        return self.token_file.exists() and not self.tls_folder.exists()

    @property
    def blob_log(self) -> Path:
        """One JSON line per request for bytes."""
        return self.folder / "blobs.jsonl"


def listing_of(repository: Path) -> Listing:
    """The channels' lists of a local TUF repository."""

    def read(name: str, channel: str) -> ChannelList:
        from edgeloop.release.repository import read_list

        return read_list(repository, name, channel)

    return read
