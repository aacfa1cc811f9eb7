"""Replace release keys: the old one is distrusted and the new one signs, in one publication.

Devices follow root metadata version by version, each signed by the keys of the one before, so a
device that slept through several replacements still finds the newest keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeloop.errors import OverrideError
from edgeloop.release.keys import ROLES, make_next
from edgeloop.release.roles import Roles

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Targets

Fresh = Mapping[str, "CryptoSigner"]  # role -> its new key


def rotate(roles: Roles, names: Sequence[str]) -> None:
    """Give each role of ``names`` a new key; only root's old key is needed for that.

    Root signs for TUF's own roles, targets for channels. Killed on the way, it can be repeated: a
    new key takes over as soon as published metadata names it.

    Raises:
        OverrideError: there is no role of that name.
        KeyFileError: a key that must sign is not here; nothing was changed.
        ThresholdError: several holders must sign; nothing was changed.
    """
    _refuse_unknown(names, (*ROLES, *roles.channels()))
    for name in names:
        roles.refuse_shared(name)
    for name in sorted(_must_sign(names)):
        roles.signer(name)
    for name in names:
        roles.settle(name)  # a rotation that was killed left its key waiting
    fresh = {name: make_next(roles.keys, name) for name in dict.fromkeys(names)}
    top = {name: key for name, key in fresh.items() if name in ROLES}
    if set(fresh) == {"root"}:
        _trust(roles, top)
    else:
        snapshot = roles.sign_snapshot(_renewed(roles, fresh), *_own(fresh, "snapshot"))
        if top:
            _trust(roles, top)
        roles.sign_timestamp(snapshot, *_own(fresh, "timestamp"))
    for name in fresh:
        roles.settle(name)


def _must_sign(names: Sequence[str]) -> set[str]:
    """The roles whose present keys are needed."""
    others = set() if set(names) == {"root"} else {"snapshot", "timestamp"}
    if set(names) - set(ROLES):
        others.add("targets")
    others -= set(names)
    return others | {"root"} if set(names) & set(ROLES) else others


def _renewed(roles: Roles, fresh: Fresh) -> dict[str, int]:
    """Sign anew what the changed keys sign, below the snapshot; role -> version."""
    channels = [name for name in fresh if name not in ROLES]
    changed = {name: roles.renew(name, roles.load(name), fresh[name]) for name in channels}
    if channels or "targets" in fresh:
        top: Metadata[Targets] = roles.load("targets")
        for name in channels:
            _replace(top.signed, name, roles.trusted(name).keyids, fresh[name])
        changed["targets"] = roles.renew("targets", top, *_own(fresh, "targets"))
    return changed


def _trust(roles: Roles, fresh: Fresh) -> None:
    """The next root metadata, which names the new keys; signed by root's key before and after."""
    root: Metadata[Root] = roles.load("root")
    signers = (roles.signer("root"), *_own(fresh, "root"))
    for name, key in fresh.items():
        _replace(root.signed, name, root.signed.roles[name].keyids, key)
    roles.renew("root", root, *signers)


def _replace(signed: Root | Targets, name: str, old: Sequence[str], key: CryptoSigner) -> None:
    for keyid in tuple(old):
        signed.revoke_key(keyid, name)
    signed.add_key(key.public_key, name)


def _own(fresh: Fresh, name: str) -> tuple[CryptoSigner, ...]:
    """A role's new key; nothing where it keeps the one that it has."""
    return (fresh[name],) if name in fresh else ()


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OverrideError(f"role {unknown[0]!r}", f"must be one of {', '.join(known)}")
