"""What a device was told when it was enrolled."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop.agent.samples import PER_DAY
from edgeloop.agent.transport import Pace
from edgeloop.errors import AgentFolderError, OverrideError
from edgeloop.protocol.messages import MOST_FOLLOWED, Labels, Name
from edgeloop.types import Json

SETTINGS, KEY, ROOT, CA = "agent.json", "device.pem", "root.json", "ca.pem"
CLIENT = "client.pem"  # certificate and key for TLS, where the control plane gives one

BaseAddress = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")]
# a web folder, a repository of a registry, or a folder of this device: see ``mirrors``
Mirror = Annotated[
    str,
    Field(
        pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?|oci\+https?://[^/?#\s]+/[^?#\s]+|file:///\S+)$"
    ),
]

KeyPlace = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*:\S*$", max_length=1024)]  # a URI


class Follow(BaseModel):
    """One more thing that the device follows, and who takes it: see ``handlers``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    channel: Name = "stable"
    handler: dict[str, Json]


class Settings(BaseModel):
    """``agent.json``. Times in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: BaseAddress  # of the control plane
    device: str  # id that the control plane gave
    name: Name
    model: Name
    channel: Name = "stable"
    target: Name
    labels: Labels = {}
    repository: str = ""  # base address of the signed metadata; "" is <server>/tuf
    blobs: str = ""  # base address of the blobs; "" is <server>/blobs/sha256
    key: KeyPlace = "file:"  # where its key lives, see ``key_places``
    mirrors: tuple[Mirror, ...] = ()  # where blobs are looked for before that, in this order
    listen: str = (
        ""  # loopback address for applications, "127.0.0.1:8080", or "unix:/path"; "" is none
    )
    opt_in: bool = False  # whether raw inputs may leave this device
    poll_seconds: Annotated[float, Field(gt=0)] = 5  # until the control plane says otherwise
    report_seconds: Annotated[float, Field(gt=0)] = 30  # between reports when nothing changes
    window_answers: Annotated[int, Field(ge=1)] = 300
    window_seconds: Annotated[float, Field(gt=0)] = 60
    signals_bytes: Annotated[int, Field(ge=1)] = 4 << 20
    samples_bytes: Annotated[int, Field(ge=0)] = 16 << 20
    samples_per_day: Annotated[int, Field(ge=0)] = PER_DAY  # that may leave the device
    journal_rows: Annotated[int, Field(ge=1)] = 100_000
    threads: Annotated[int, Field(ge=1)] = 1
    least_bytes_per_second: Annotated[float, Field(ge=0)] = 1024
    follows: Annotated[tuple[Follow, ...], Field(max_length=MOST_FOLLOWED)] = ()

    @property
    def repository_url(self) -> str:
        """Where ``metadata/`` and ``targets/`` are."""
        return self.repository or f"{self.server}/tuf"

    @property
    def pace(self) -> Pace:
        """The slowest reply that is waited for."""
        return Pace(bytes_per_second=self.least_bytes_per_second)

    def blob_url(self, digest: str) -> str:
        """The address of one blob."""
        base = self.blobs or f"{self.server}/blobs/sha256"
        return f"{base}/{digest.removeprefix('sha256:')}"


def read(folder: Path) -> Settings:
    """The settings of an enrolled device.

    Raises:
        AgentFolderError: the folder was not enrolled, or its settings are broken.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise AgentFolderError(
            f"agent folder {folder}",
            "must be enrolled",
            got=f"no {SETTINGS}",
            todo="Run `python -m edgeloop.agent enrol`",
        )
    try:
        return Settings.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AgentFolderError(
            f"file {path}", "must hold settings", got=f"{where}: {first['msg']}"
        ) from fault


def authority(folder: Path) -> str:
    """The certificates that vouch for the control plane, in PEM; "" where the system's do.

    Raises:
        AgentFolderError: the file cannot be read.
    """
    path = folder / CA
    try:
        return path.read_text(encoding="ascii") if path.exists() else ""
    except (OSError, UnicodeError) as fault:
        raise AgentFolderError(f"file {path}", "must hold certificates in PEM") from fault


def labels(told: Iterable[str]) -> dict[str, str]:
    """What ``--label name=value`` says, each.

    Raises:
        OverrideError: no ``=``, or no name before it.
    """
    found = {}
    for text in told:
        name, separator, value = text.partition("=")
        if not (separator and name):
            raise OverrideError("--label", "must be name=value", got=repr(text))
        found[name] = value
    return found


@cache
def agent_version() -> str:
    """The version of edgeloop that this process began with; "" when it runs from a source tree.

    Kept: to read it costs a parse, an idle agent asks for it twice a second, and what another
    package manager puts in its place meanwhile does not run here.
    """
    try:
        return version("edgeloop")
    except PackageNotFoundError:
        return ""
