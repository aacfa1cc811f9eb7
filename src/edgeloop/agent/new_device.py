"""What all ways to become a device share: what is looked at first, what is written last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edgeloop import durable
from edgeloop.agent import address, first_root, key_places, unix_socket
from edgeloop.agent.settings import CA, CLIENT, ROOT, SETTINGS, Settings
from edgeloop.errors import AgentFolderError, EnrolmentError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.protocol.keys import Signer

UNSPENT = "Nothing was sent, the token was not spent"
SECRET = frozenset({"token"})  # never shown


def look_at(told: Mapping[str, Any], others: Mapping[str, object], root: bytes, ca: str) -> None:
    """All that can be known without the control plane.

    Raises:
        EnrolmentError: a field breaks its rule.
        ProtocolError: ``listen`` is no loopback address.
        SignatureError: ``root`` is not signed by itself.
    """
    with converted():
        draft = Settings.model_validate({**told, "device": "not known yet", **others})
    if draft.listen and unix_socket.place_of(draft.listen) is None:
        address.parted(draft.listen)
    first_root.check(root)
    if ca and not draft.server.startswith("https://"):
        raise EnrolmentError(
            f"server {draft.server!r}", "must be https where an authority is given", todo=UNSPENT
        )


def key_in(folder: Path, place: key_places.Place, *, anew: bool = False) -> Signer:
    """The device's key, made where there is none; ``anew`` gives the one that is to follow it.

    Raises:
        AgentFolderError: the folder cannot be written.
        KeyPlaceError, KeyFileError: no key can be made or kept.
    """
    try:
        durable.make_folder(folder, mode=0o700)  # with the key, before anything is spent
        current = place.current()
        if current is None:
            return place.make()
        return (place.upcoming() or place.make_upcoming()) if anew else current
    except OSError as fault:
        raise AgentFolderError(
            f"agent folder {folder}", "must be a folder that can be written", got=fault.strerror
        ) from fault


def settle(folder: Path, settings: Settings, root: bytes, ca: str) -> None:
    """Write what the device was told; with the last file it is enrolled."""
    durable.write(folder / ROOT, root)
    if ca:
        durable.write(folder / CA, ca.encode())
    else:  # of an earlier enrolment
        (folder / CA).unlink(missing_ok=True)
    (folder / CLIENT).unlink(missing_ok=True)  # of an earlier device
    durable.write(folder / SETTINGS, settings.model_dump_json(indent=1).encode())


@contextmanager
def converted() -> Iterator[None]:
    """Turn pydantic's faults into ours, all of them together."""
    try:
        yield
    except ValidationError as fault:
        raise EnrolmentError(
            "what a device is told",
            "must fit its rules",
            got="; ".join(_line(one) for one in fault.errors()),
            todo=UNSPENT,
        ) from None  # the library's own text would show the token


def _line(fault: Mapping[str, Any]) -> str:
    """``name 'a b' (String should match pattern ...)``."""
    field = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    shown = "" if field in SECRET else f" {fault['input']!r}"
    return f"{field}{shown} ({fault['msg']})"
