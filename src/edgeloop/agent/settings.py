"""What a device was told when it was enrolled, and the enrolment itself."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop.agent import device, durable
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.samples import PER_DAY
from edgeloop.agent.transport import Pace, Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import AgentFolderError, OverrideError
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Enrol, Name
from edgeloop.types import Json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SETTINGS, KEY, ROOT, LOCK = "agent.json", "device.pem", "root.json", "lock"


class Settings(BaseModel):
    """``agent.json``. Times in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str  # base address of the control plane
    device: str  # id that the control plane gave
    name: Name
    model: Name
    channel: Name = "stable"
    target: Name
    labels: dict[Name, str] = {}
    repository: str = ""  # base address of the signed metadata; "" is <server>/tuf
    blobs: str = ""  # base address of the blobs; "" is <server>/blobs/sha256
    listen: str = ""  # loopback address for applications, "127.0.0.1:8080"; "" is none, port 0 any
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


def enrol(
    folder: Path,
    *,
    server: str,
    token: str,
    name: str,
    model: str,
    root: bytes,
    channel: str = "stable",
    target: str = "auto",
    labels: Mapping[str, str] | None = None,
    transport: Transport | None = None,
    clock: Clock | None = None,
    **others: object,
) -> Settings:
    """Make ``folder`` a device of the control plane at ``server``.

    ``root`` is the channel's first root metadata, which must come by a way that is trusted (with
    the device's image, by hand), not from the server. ``others`` are further fields of
    :class:`Settings`. What broke off can be done again: the key stays, the token counts once.

    Raises:
        UnauthorizedError: the token is wrong, expired, or was used by another device.
        UnreachableError: the control plane did not answer.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, found = _key(folder), device.detect(target)
    identity = keys.fingerprint(key.public_key())
    plane = ControlPlane(
        server, key, identity, transport or Urllib3Transport(), clock or SystemClock()
    )
    said = {"name": name, "labels": dict(labels or {}), "target": found.target}
    enrolled = plane.enrol(_message(token, key, found, said))
    told = {
        "server": server.rstrip("/"),
        "device": enrolled.device,
        "model": model,
        "channel": channel,
        "poll_seconds": enrolled.poll_seconds,
    }
    settings = Settings.model_validate({**told, **said, **others})
    durable.write(folder / ROOT, root)
    durable.write(folder / SETTINGS, settings.model_dump_json(indent=1).encode())
    return settings


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


def _key(folder: Path) -> Ed25519PrivateKey:
    """The device's key, made where there is none."""
    path = folder / KEY
    if not path.exists():
        keys.save(keys.generate(), path)
    return keys.load(path)


def _message(
    token: str, key: Ed25519PrivateKey, found: device.Device, said: Mapping[str, Json]
) -> Enrol:
    return Enrol(
        token=token,
        public_key=keys.public_pem(key.public_key()),
        runtimes=found.runtimes,
        agent_version=agent_version(),
        **said,
    )


def agent_version() -> str:
    """The installed version of edgeloop; "" when it runs from a source tree."""
    try:
        return version("edgeloop")
    except PackageNotFoundError:
        return ""


def lock(folder: Path) -> IO[bytes]:
    """Hold a folder; closing what is returned lets it go, and so does the end of the process.

    Raises:
        AgentFolderError: another agent holds it.
    """
    handle = (folder / LOCK).open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        handle.close()
        raise AgentFolderError(
            f"agent folder {folder}",
            "must be used by one agent",
            todo="End the other one, or give this one a folder of its own",
        ) from fault
    return handle
