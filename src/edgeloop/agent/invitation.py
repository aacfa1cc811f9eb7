"""All that a device needs to enrol, in one file that comes to it by a trusted way.

Address and authority of the control plane, first root metadata, and a one-time token, so that the
file is a secret until the device has used it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop import durable
from edgeloop.agent import first_root, wire
from edgeloop.errors import EnrolmentError
from edgeloop.protocol.messages import Name

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1 << 20  # bytes


class Invitation(BaseModel):
    """The file. ``root`` is JSON, ``ca`` PEM; an empty ``ca`` leaves it to the system's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    server: str
    token: Annotated[str, Field(repr=False)]
    model: Name
    channel: Name = "stable"
    root: str
    ca: str = ""


def write(invitation: Invitation, path: Path) -> None:
    """Write it for its owner alone."""
    durable.write(path, invitation.model_dump_json(indent=1).encode(), mode=0o600)


def read(path: Path) -> Invitation:
    """What a file says.

    Raises:
        EnrolmentError: it cannot be read, or is no invitation.
    """
    thing = f"invitation {path}"
    try:
        with path.open("rb") as stream:
            return Invitation.model_validate_json(stream.read(LARGEST))
    except OSError as fault:
        raise EnrolmentError(thing, "must be a readable file", got=fault.strerror) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        todo = "Make one with `edgeloop fleet token --invitation`"
        rule = "must be what `fleet token` wrote"
        raise EnrolmentError(thing, rule, got=got, todo=todo) from None  # it has the token


def told(file: Path | None, *, root: Path | None, ca: Path | None, **said: str) -> dict[str, Any]:
    """What :func:`enrolment.enrol` is to be told: ``said`` and the files, the invitation behind.

    Raises:
        EnrolmentError: something is missing, or a file cannot be read.
        CertificateError: ``ca`` holds no certificate.
    """
    found = {name: text for name, text in said.items() if text}
    if root:
        found["root"] = first_root.read(root).decode(errors="replace")
    if ca:
        found["ca"] = wire.certificates(ca)
    if file:
        found = read(file).model_dump(exclude={"format"}) | found
    missing = [f"--{name}" for name in ("server", "token", "model", "root") if name not in found]
    if missing:
        raise EnrolmentError(
            "what a device is told",
            "must be whole",
            got=f"no {', '.join(missing)}",
            todo="Give each, or all in one file with --invitation",
        )
    return {**found, "root": found["root"].encode()}
