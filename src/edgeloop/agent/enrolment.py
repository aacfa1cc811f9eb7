"""Make a folder a device of a control plane: what can be looked at here first, the token last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edgeloop import durable
from edgeloop.agent import address, device, first_root, unix_socket
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.settings import CA, KEY, ROOT, SETTINGS, Settings, agent_version
from edgeloop.agent.transport import Transport, Urllib3Transport
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import AgentFolderError, EnrolmentError
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Enrol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

UNSPENT = "Nothing was sent, the token was not spent"
SECRET = frozenset({"token"})  # never shown


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

    Raises:
        EnrolmentError: a field breaks its rule; nothing was sent.
        SignatureError: ``root`` is not signed by itself; nothing was sent.
        ProtocolError: ``listen`` is no loopback address; nothing was sent.
        CertificateError: ``ca`` holds no certificate; nothing was sent.
        AgentFolderError: the folder cannot be written; nothing was sent.
        UnauthorizedError: the token is wrong, expired, or was used by another device.
        ConflictError: the token is for another model, or the name belongs to another device.
        UnreachableError: the control plane did not answer.
        NotBelievedError: it showed another certificate than one of ``ca``; no token was sent.
    """
    found = device.detect(target)
    follows = {"model": model, "channel": channel}
    said = {"name": name, **follows, "labels": dict(labels or {}), "target": found.target}
    told = {"server": server.rstrip("/"), **said}
    _look_at(told, others, root)
    if ca and not server.startswith("https://"):
        raise EnrolmentError(
            f"server {server!r}", "must be https where an authority is given", todo=UNSPENT
        )
    wire = transport or Urllib3Transport(server, ca)
    key = _key(folder)
    plane = ControlPlane(
        server,
        key,
        keys.fingerprint(key.public_key()),
        wire,
        clock or SystemClock(),
    )
    enrolled = plane.enrol(_message(token, key, found, said))
    settings = Settings.model_validate({**told, **enrolled.model_dump(), **others})
    durable.write(folder / ROOT, root)
    _keep(ca, folder / CA)
    durable.write(folder / SETTINGS, settings.model_dump_json(indent=1).encode())
    return settings


def _look_at(told: Mapping[str, Any], others: Mapping[str, object], root: bytes) -> None:
    """All that can be known without the control plane."""
    with _converted():
        draft = Settings.model_validate({**told, "device": "not known yet", **others})
    if draft.listen and unix_socket.path_of(draft.listen) is None:
        address.parted(draft.listen)
    first_root.check(root)


def _keep(ca: str, path: Path) -> None:
    if ca:
        durable.write(path, ca.encode())
    else:  # of an earlier enrolment
        path.unlink(missing_ok=True)


def _key(folder: Path) -> Ed25519PrivateKey:
    """The device's key, made where there is none."""
    path = folder / KEY
    try:
        durable.make_folder(folder, mode=0o700)  # with the key, before the token is spent
        if not path.exists():
            keys.save(keys.generate(), path)
    except OSError as fault:
        raise AgentFolderError(
            f"agent folder {folder}", "must be a folder that can be written", got=fault.strerror
        ) from fault
    return keys.load(path)


def _message(
    token: str, key: Ed25519PrivateKey, found: device.Device, said: Mapping[str, Any]
) -> Enrol:
    with _converted():
        return Enrol(
            token=token,
            public_key=keys.public_pem(key.public_key()),
            runtimes=found.runtimes,
            agent_version=agent_version(),
            **said,
        )


@contextmanager
def _converted() -> Iterator[None]:
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
