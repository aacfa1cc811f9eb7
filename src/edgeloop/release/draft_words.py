"""What a draft changes, and whose signatures it lacks, in words for people; no disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from edgeloop.release.draft import OFFLINE, Asked, Draft, number
from edgeloop.release.holders import called, holder
from edgeloop.release.keys import ROLES
from edgeloop.release.trusted_time import signed_at, stamp

if TYPE_CHECKING:
    from securesystemslib.signer import Key
    from tuf.api.metadata import Role, Root, Targets

NOBODY = "nobody"


def words(draft: Draft) -> list[str]:
    """The whole draft, line by line."""
    lines = [f"draft {draft.number}: other holders must see the same number"]
    root = draft.now["root"]
    lines.append(f"it begins at root version {root.signed.version}, number {number(root)}")
    for role in OFFLINE:
        if role in draft.next:
            lines += _part(role, draft)
    return [*lines, *(state(asked) for asked in draft.asked())]


def state(asked: Asked) -> str:
    """``root as it is: 1 of 2 signatures; signed by anna; not yet by ben``."""
    result = asked.result
    line = f"{asked.by}: {len(result.signed)} of {result.threshold} signatures"
    line += f"; signed by {_names(result.signed)}"
    return f"{line}; not by {_names(result.unsigned)}" if result.unsigned else line


def _part(role: str, draft: Draft) -> Iterator[str]:
    before, after = draft.now[role].signed, draft.next[role].signed
    yield f"{role} becomes version {after.version}, drafted {stamp(signed_at(after))}"
    dates = f"until {after.expires.date()}, before: until {before.expires.date()}"
    yield f"  it is believed {dates}"
    if role == "root":
        yield from _root(before, after)
    else:
        yield from _channels(before, after)


def _root(before: Root, after: Root) -> Iterator[str]:
    for role in ROLES:
        old, new = before.roles[role], after.roles[role]
        yield from _keys(role, (old, before.keys), (new, after.keys))


def _channels(before: Targets, after: Targets) -> Iterator[str]:
    old, new = _delegated(before), _delegated(after)
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"  channel {name}: GONE, its releases are installed no more"
        elif name not in old:
            yield f"  channel {name}: new, signed by {_names(_trusted(*new[name]))}"
        else:
            yield from _keys(f"channel {name}", old[name], new[name])


def _delegated(targets: Targets) -> dict[str, tuple[Role, Mapping[str, Key]]]:
    delegations = targets.delegations
    roles = (delegations and delegations.roles) or {}
    return {name: (role, delegations.keys) for name, role in roles.items() if delegations}


def _keys(
    name: str, old: tuple[Role, Mapping[str, Key]], new: tuple[Role, Mapping[str, Key]]
) -> Iterator[str]:
    before, after = _trusted(*old), _trusted(*new)
    if (before, old[0].threshold) == (after, new[0].threshold):
        yield f"  {name}: as before, {_rule(new[0])} ({_names(after)})"
        return
    yield f"  {name}: {_rule(new[0])} must sign, before: {_rule(old[0])}"
    for keyid in before | after:
        key = before.get(keyid) or after[keyid]
        stays = "stays" if keyid in before else "comes"
        name = _renamed(key, after.get(keyid, key))
        yield f"    {stays if keyid in after else 'goes'}: {called(key)}{name}"


def _renamed(before: Key, after: Key) -> str:
    if holder(before) == holder(after):
        return ""
    return f", from now on called {holder(after) or NOBODY}"


def _trusted(role: Role, keys: Mapping[str, Key]) -> dict[str, Key]:
    return {keyid: keys[keyid] for keyid in role.keyids}


def _rule(role: Role) -> str:
    return f"{role.threshold} of {len(role.keyids)}"


def _names(keys: Mapping[str, Key]) -> str:
    return ", ".join(called(key) for key in keys.values()) or NOBODY
