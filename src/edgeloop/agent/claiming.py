"""First contact of a device that a factory made: its certificate in place of a token.

What it left the line with is a folder: ``factory.json`` (see :class:`Shipped`), the certificate
chain in ``certificate.pem``, and its private key in ``key.pem`` or in a chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop.agent import device, key_places
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.new_device import converted, key_in, look_at, settle
from edgeloop.agent.settings import BaseAddress, KeyPlace, Settings, agent_version
from edgeloop.agent.transport import Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import EnrolmentError
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Claim
from edgeloop.protocol.proofs import Use, prove

if TYPE_CHECKING:
    from edgeloop.protocol.keys import Signer

ABOUT, CHAIN, KEY = "factory.json", "certificate.pem", "key.pem"
LARGEST = 1 << 20  # bytes of a file


class Shipped(BaseModel):
    """``factory.json``, the same in each device of a batch, and no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    server: BaseAddress
    root: Annotated[str, Field(min_length=1)]  # first root metadata, JSON
    ca: str = ""  # PEM; "" leaves it to the system's authorities
    key: KeyPlace | None = None  # where the factory's key lives; None: key.pem beside this file


def claim(
    folder: Path,
    factory: Path,
    *,
    target: str = "auto",
    labels: Mapping[str, str] | None = None,
    key: str = key_places.HERE,
    new_key: bool = False,
    transport: Transport | None = None,
    clock: Clock | None = None,
    **others: object,
) -> Settings:
    """Make ``folder`` a device by the certificate in the folder ``factory``.

    The device's own key is made here; the factory's key only vouches for it, once. Name, model,
    channel and labels come from the control plane. ``others`` are further fields of
    :class:`Settings`. What broke off can be done again.

    Raises:
        EnrolmentError: a file of ``factory`` cannot be read, or a field breaks its rule.
        KeyPlaceError, KeyFileError: a key cannot be made, kept or used.
        UnauthorizedError: the certificate, or its serial number, may not claim.
        ConflictError: the serial number was claimed by another key, or the name is taken.
        UnreachableError: the control plane did not answer, or is not believed.
    """
    shipped, found = read(factory), device.detect(target)
    root, own_labels = shipped.root.encode(), dict(labels or {})
    told = {"server": shipped.server.rstrip("/"), "key": key, "target": found.target}
    draft = {**told, "name": "unknown", "model": "unknown", "labels": own_labels}
    look_at(draft, others, root, shipped.ca)
    vouching = _factory_key(shipped, factory)
    place = key_places.place(key, folder)
    own = key_in(folder, place, anew=new_key)
    message = _message(_text(factory / CHAIN), vouching, own, found, own_labels)
    who = keys.fingerprint(vouching.public_key())
    wire = transport or Urllib3Transport(shipped.server, shipped.ca)
    plane = ControlPlane(shipped.server, vouching, who, wire, clock or SystemClock())
    settings = Settings.model_validate({**told, **plane.claim(message).model_dump(), **others})
    settle(folder, settings, root, shipped.ca)
    if new_key and place.upcoming() is not None:
        place.adopt()
    return settings


def read(factory: Path) -> Shipped:
    """``factory.json``.

    Raises:
        EnrolmentError: it cannot be read, or says something else.
    """
    path = factory / ABOUT
    try:
        return Shipped.model_validate_json(_text(path))
    except ValidationError as fault:
        first = fault.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        todo = "Make one with `edgeloop fleet factory ship`"
        raise EnrolmentError(
            f"file {path}", "must say server and root", got=got, todo=todo
        ) from fault


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST).decode("utf-8", errors="replace")
    except OSError as fault:
        raise EnrolmentError(f"file {path}", "must be readable", got=fault.strerror) from fault


def _factory_key(shipped: Shipped, factory: Path) -> Signer:
    if shipped.key is None:
        return keys.load_signer(factory / KEY)
    return key_places.key_of(shipped.key, factory)


def _message(
    chain: str, vouching: Signer, own: Signer, found: device.Device, labels: Mapping[str, str]
) -> Claim:
    with converted():
        return Claim.model_validate(
            {
                "certificates": chain,
                "public_key": keys.public_pem(own.public_key()),
                "proof": prove(own, Use.CLAIM, keys.fingerprint(vouching.public_key())),
                "labels": labels,
                "target": found.target,
                "runtimes": found.runtimes,
                "agent_version": agent_version(),
            }
        )
