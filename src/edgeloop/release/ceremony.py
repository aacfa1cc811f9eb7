"""Change root and targets whose keys several people hold: drafted here, signed by them, published.

Between the two, nothing of the repository changes. Publishing can be repeated after a kill.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeloop.errors import DraftError, KeyFileError, OverrideError, ThresholdError
from edgeloop.release import keys
from edgeloop.release.beginning import delegate
from edgeloop.release.draft import AGAIN, CHAIN, OFFLINE, Draft, refuse_odd
from edgeloop.release.draft_rules import ONLINE
from edgeloop.release.draft_words import state
from edgeloop.release.keys import make_next
from edgeloop.release.roles import Roles
from edgeloop.release.trusted_time import SIGNED_AT, signed_at, stamp

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Targets

    from edgeloop.release.holders import Holding

DAY = 86_400.0  # seconds by which the clock of who drafted may be ahead


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be different. ``fresh``: roles and channels whose key, kept here, is replaced."""

    holdings: Mapping[str, Holding]  # root, targets -> who holds it from now on
    fresh: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()  # new ones


def draft(roles: Roles, change: Change) -> Draft:
    """The next root or targets or both, unsigned; with no change they only live longer.

    Raises:
        OverrideError: there is no such role, or holders' keys are asked to be made here.
    """
    _refuse_unknown(roles, change)
    now: dict[str, Metadata[Any]] = {role: roles.load(role) for role in OFFLINE}
    wanted = _parts(change)
    following = {role: copy.deepcopy(now[role]) for role in OFFLINE if role in wanted}
    if "root" in following:
        _change_root(roles, following["root"].signed, change)
    if "targets" in following:
        _change_targets(roles, following["targets"].signed, change)
    for role, metadata in following.items():
        metadata.signatures.clear()
        metadata.signed.version += 1
        metadata.signed.expires = roles.expiry(role)
        metadata.signed.unrecognized_fields[SIGNED_AT] = stamp(roles.now())
    made = Draft(now=now, next=following, before=_before(roles, now["root"]))
    refuse_odd(made, "draft")
    return made


def publish(roles: Roles, drafted: Draft) -> None:
    """Publish a draft that enough holders have signed.

    Raises:
        ThresholdError: signatures are missing; nothing was changed.
        DraftError: the repository has changed since it was drafted.
        KeyFileError: a key that is kept here and must sign is missing.
    """
    _refuse_stale(roles, drafted)
    _refuse_unsigned(drafted)
    signers = _online(roles, drafted)
    changed = _channels(roles, drafted)
    if "targets" in drafted.next:
        _put(roles, "targets", drafted.targets)
        changed["targets"] = drafted.targets.signed.version
    snapshot = roles.sign_snapshot(changed, signers["snapshot"])
    if "root" in drafted.next:
        _put(roles, "root", drafted.root)
    roles.sign_timestamp(snapshot, signers["timestamp"])
    for role in (*ONLINE, *roles.channels()):
        roles.settle(role)
    for role in OFFLINE:
        roles.retire(role)


def _put(roles: Roles, role: str, metadata: Metadata[Any]) -> None:
    """Write it, but never over what is published: devices need the signatures that are there."""
    if roles.load(role).signed_bytes != metadata.signed_bytes:
        roles.put(role, metadata)


def _before(roles: Roles, root: Metadata[Root]) -> tuple[Metadata[Root], ...]:
    """The roots that led to this one, which show the way to holders who know an older one."""
    newest = root.signed.version
    found = (roles.earlier("root", at) for at in range(max(1, newest - CHAIN), newest))
    return tuple(metadata for metadata in found if metadata is not None)


def _parts(change: Change) -> set[str]:
    """The roles that change; new keys of targets sign targets anew."""
    root = bool(change.holdings) or bool(set(change.fresh) & set(ONLINE))
    channels = bool(change.channels) or bool(set(change.fresh) - set(ONLINE))
    targets = channels or "targets" in change.holdings
    found = {role for role, is_asked in (("root", root), ("targets", targets)) if is_asked}
    return found or set(OFFLINE)


def _change_root(roles: Roles, root: Root, change: Change) -> None:
    for role, holding in change.holdings.items():
        for keyid in tuple(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        for key in holding.keys:
            root.add_key(key, role)
        root.roles[role].threshold = holding.threshold
    for role in change.fresh:
        if role in ONLINE:
            _replace(roles, root, role)


def _change_targets(roles: Roles, targets: Targets, change: Change) -> None:
    for channel in change.fresh:
        if channel not in ONLINE:
            _replace(roles, targets, channel)
    for channel in change.channels:
        made = keys.generate(roles.keys, (channel,))
        delegate(targets, channel, made[channel])


def _replace(roles: Roles, signed: Root | Targets, role: str) -> None:
    roles.settle(role)  # a key that waits for a draft that was published takes over first
    for keyid in tuple(roles.trusted(role).keyids):
        signed.revoke_key(keyid, role)
    signed.add_key(make_next(roles.keys, role).public_key, role)


def _refuse_unknown(roles: Roles, change: Change) -> None:
    known = (*ONLINE, *roles.channels())
    for role in change.fresh:
        if role not in known:
            raise OverrideError(f"--new-key {role}", f"must be one of {', '.join(known)}")
    for channel in change.channels:
        if channel in known:
            raise OverrideError(f"channel {channel!r}", "must not be there yet")


def _refuse_stale(roles: Roles, drafted: Draft) -> None:
    """What is published must be what was drafted from, or, after a kill, what is drafted."""
    for role in OFFLINE:
        if not any(_same(*pair) for pair in _fitting(roles, drafted, role)):
            got = f"{role} was changed since it was drafted"
            raise DraftError(_thing(drafted), "must fit the repository", got=got, todo=AGAIN)
    for role, metadata in drafted.next.items():
        if signed_at(metadata.signed) > roles.now() + DAY:
            got = f"one of {stamp(signed_at(metadata.signed))}"
            raise DraftError(_thing(drafted), "must not be of the future", got=got, todo=AGAIN)
        if metadata.signed.expires.timestamp() <= roles.now():
            got = f"{role} that was believed until {metadata.signed.expires.date()}"
            raise DraftError(_thing(drafted), "must not be expired", got=got, todo=AGAIN)


def _fitting(
    roles: Roles, drafted: Draft, role: str
) -> Iterator[tuple[Metadata[Any] | None, Metadata[Any]]]:
    """What is in the repository, with what the draft says it is.

    The signatures that it takes are those of ``now``: that must be the repository's own in a
    repetition as well, or whoever carries the draft says whose signatures these are.
    """
    published, now = roles.load(role), drafted.now[role]
    yield published, now
    if role in drafted.next and _same(published, drafted.next[role]):
        yield roles.earlier(role, published.signed.version - 1), now


def _same(one: Metadata[Any] | None, other: Metadata[Any]) -> bool:
    return one is not None and one.signed_bytes == other.signed_bytes


def _refuse_unsigned(drafted: Draft) -> None:
    missing = [state(asked) for asked in drafted.asked() if not asked.result]
    if missing:
        raise ThresholdError(
            _thing(drafted),
            "must be signed by as many holders as each role asks for",
            got="; ".join(missing),
            todo="Let them run `edgeloop release keys sign`; nothing was changed",
        )


def _online(roles: Roles, drafted: Draft) -> dict[str, CryptoSigner]:
    trusted = drafted.root.signed.roles
    return {role: _signer(roles, role, trusted[role].keyids) for role in ONLINE}


def _channels(roles: Roles, drafted: Draft) -> dict[str, int]:
    """Sign channels whose key is another from now on, and the first list of new ones."""
    from tuf.api.metadata import Metadata, Targets

    here = roles.channels()
    delegations = drafted.targets.signed.delegations
    named = (delegations and delegations.roles) or {}
    changed = {}
    signers = {
        name: _signer(roles, name, role.keyids)
        for name, role in named.items()
        if name not in here or set(role.keyids) != set(roles.trusted(name).keyids)
    }
    for name, signer in signers.items():
        if name in here:
            changed[name] = roles.renew(name, roles.load(name), signer)
        else:
            first = Metadata(Targets(expires=roles.expiry(name)))
            roles.save(name, first, (signer,))
            changed[name] = 1
    return changed


def _signer(roles: Roles, role: str, wanted: list[str]) -> CryptoSigner:
    """The key that is to be believed, which may still wait to take over."""
    waiting = keys.next_signer(roles.keys, role)
    if waiting is not None and waiting.public_key.keyid in wanted:
        return waiting
    found = keys.signer(roles.keys, role)
    if found.public_key.keyid not in wanted:
        raise KeyFileError(
            f"key file {roles.keys / role}.pem",
            f"must be key {wanted[0][:8]}, which the draft names",
            got=f"key {found.public_key.keyid[:8]}",
            todo="Put it back, or draft again; nothing was changed",
        )
    return found


def _thing(drafted: Draft) -> str:
    return f"draft {drafted.number}"
