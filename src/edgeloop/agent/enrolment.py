"""Make a folder a device of a control plane: what can be looked at here first, the token last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeloop.agent import device, key_places
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.new_device import converted, key_in, look_at, settle
from edgeloop.agent.settings import Settings, agent_version
from edgeloop.agent.transport import Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Enrol

if TYPE_CHECKING:
    from pathlib import Path


def enrol(
    folder: Path,
    *,
    server: str,
    token: str,
    name: str,
    model: str,
    root: bytes,
    ca: str = "",
    channel: str = "stable",
    target: str = "auto",
    labels: Mapping[str, str] | None = None,
    key: str = key_places.HERE,
    new_key: bool = False,
    transport: Transport | None = None,
    clock: Clock | None = None,
    **others: object,
) -> Settings:
    """Make ``folder`` a device of the control plane at ``server``.

    ``root`` is the channel's first root metadata, which must come by a way that is trusted (with
    the device's image, by hand), not from the server. So must ``ca``, the certificates in PEM that
    vouch for the control plane over https; without it the system's authorities do. ``others`` are
    further fields of :class:`Settings`. What broke off can be done again: the key stays, the token
    counts once.

    A folder that is enrolled already goes on with a token that is for its device: slots, log and
    unsent windows stay. ``new_key`` takes another key, as a device that was revoked must. ``key``
    names where the key lives, see ``key_places``.

    Raises:
        EnrolmentError: a field breaks its rule; nothing was sent.
        SignatureError: ``root`` is not signed by itself; nothing was sent.
        ProtocolError: ``listen`` is no loopback address; nothing was sent.
        CertificateError: ``ca`` holds no certificate; nothing was sent.
        AgentFolderError: the folder cannot be written; nothing was sent.
        KeyPlaceError, KeyFileError: the key cannot be made or kept; nothing was sent.
        UnauthorizedError: the token is wrong, expired, or was used by another device.
        ConflictError: the token is for another model or device, the name belongs to another
            device, or the key was revoked.
        UnreachableError: the control plane did not answer.
        NotBelievedError: it showed another certificate than one of ``ca``; no token was sent.
    """
    found = device.detect(target)
    said = {"name": name, "model": model, "channel": channel, "labels": dict(labels or {})}
    said |= {"target": found.target}
    told = {"server": server.rstrip("/"), "key": key, **said}
    look_at(told, others, root, ca)
    wire = transport or Urllib3Transport(server, ca)
    place = key_places.place(key, folder)
    own = key_in(folder, place, anew=new_key)
    with converted():
        message = Enrol.model_validate(
            {
                "token": token,
                "public_key": keys.public_pem(own.public_key()),
                "runtimes": found.runtimes,
                "agent_version": agent_version(),
                **said,
            }
        )
    who = keys.fingerprint(own.public_key())
    enrolled = ControlPlane(server, own, who, wire, clock or SystemClock()).enrol(message)
    settings = Settings.model_validate({**told, **enrolled.model_dump(), **others})
    settle(folder, settings, root, ca)
    if new_key and place.upcoming() is not None:
        place.adopt()
    return settings
