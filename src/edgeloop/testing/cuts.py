"""Every disk that a power cut may legally leave behind a recording, and how to make one again.

The model is that of a file system which promises no more than POSIX does: what was not synced may
be there or not, in any order. A sync of a file makes its content last, a sync of a folder the names
in it, and neither the other. A rename is whole: the old name, the new one, or for a time both, when
it leads into another folder. Of a database any number of the newest transactions may be missing.

At each operation these are tried (the bound), for what was not synced: nothing lost; all lost;
names kept and contents lost, and the other way round; each prefix kept, its last write whole, torn
in the middle, or zeros; each single one lost, torn or zeros, with all later ones kept; each two of
the newest ``pairs`` (None: all) lost. Of a database: the newest one, two, three, or all of its
transactions.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeloop.testing.disk import ROOT, Entry, Kind, Made, Operation, Recording, Value

NAMES = frozenset({Kind.NAME, Kind.UNNAME, Kind.RENAME, Kind.LEAVE})
NEWEST = 3  # transactions of one database that are lost one by one
PAIRS = 8

Loss = tuple[str, Callable[[], list[Operation]]]  # what was lost, in words; what is left


@dataclass(frozen=True, kw_only=True)
class Crash:
    """One disk behind a power cut. ``cut`` operations were done; ``loss`` says what did not last.

    ``note`` is the newest one that was recorded before; ``key`` is equal for equal disks.
    """

    cut: int
    last: Operation
    loss: str
    note: Any
    key: bytes
    disk: tuple[Entry, ...]


class Cuts:
    """The legal disks of one recording."""

    def __init__(self, recording: Recording, *, pairs: int | None = PAIRS) -> None:
        self._recording, self._pairs = recording, pairs
        self._digests: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Crash]:
        """All of them, equal ones too, in order."""
        return self._walk(list)

    def some(self, per_cut: int, seed: int = 7) -> Iterator[Crash]:
        """At each operation the first two losses, and ``per_cut`` of the others by chance."""
        draw = random.Random(seed)  # noqa: S311  (which states are tried; not a secret)

        def chosen(losses: Iterator[Loss]) -> list[Loss]:
            every = list(losses)
            others = every[2:]
            return every[:2] + draw.sample(others, min(per_cut, len(others)))

        return self._walk(chosen)

    def _walk(self, choose: Callable[[Iterator[Loss]], list[Loss]]) -> Iterator[Crash]:
        made, first = self._recording.made, self._recording.first
        lasting: dict[int, Value] = {n: first.get(n, _empty(m)) for n, m in made.items()}
        pending: list[Operation] = []
        note: Any = None
        for cut, operation in enumerate(self._recording.operations):
            if operation.kind is Kind.SYNC:
                pending = _settle(lasting, pending, operation.node)
                continue
            if operation.kind is Kind.NOTE:
                note = operation.note
            else:
                pending.append(operation)
            for loss, kept in choose(losses(pending, self._pairs)):
                disk = self._disk(lasting, kept())
                key = self._key(disk, note)
                yield Crash(cut=cut, last=operation, loss=loss, note=note, key=key, disk=disk)

    def _disk(self, lasting: dict[int, Value], kept: Iterable[Operation]) -> tuple[Entry, ...]:
        values = dict(lasting)
        for operation in kept:
            apply(values, operation)
        folders: dict[int, str] = {}
        found = list(self._below(values, ROOT, "", folders))
        there = set(folders.values())
        for node, made in self._recording.made.items():
            whole = made.what == "database" and values[node] is not None
            if whole and os.path.dirname(made.target) in there:  # noqa: PTH120  (no path of a disk)
                found.append(Entry(path=made.target, made=made, value=values[node]))
        return tuple(found)

    def _below(
        self, values: dict[int, Value], folder: int, path: str, folders: dict[int, str]
    ) -> Iterator[Entry]:
        folders[folder] = path
        for name, node in sorted(values[folder].items()):
            made, here = self._recording.made[node], f"{path}/{name}" if path else name
            if made.what != "folder":
                yield Entry(path=here, made=made, value=values[node])
            elif node not in folders:  # a folder that a rename left with both names has one here
                yield Entry(path=here, made=made, value=None)
                yield from self._below(values, node, here, folders)

    def _key(self, disk: tuple[Entry, ...], note: Any) -> bytes:
        parts = [str(id(note)).encode()]
        for entry in disk:
            parts.append(entry.path.encode())
            if entry.made.what == "file":
                mode, data = entry.value
                parts += [b"%d" % mode, self._digest(data)]
            elif entry.made.what == "database":
                parts.append(self._digest(entry.value))
            else:
                parts.append(entry.made.target.encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()

    def _digest(self, data: bytes) -> bytes:
        if data not in self._digests:
            self._digests[data] = hashlib.blake2b(data, digest_size=16).hexdigest().encode()
        return self._digests[data]


def losses(pending: list[Operation], pairs: int | None) -> Iterator[Loss]:
    """What may be left of ``pending``, which nothing has synced: the bound of this module."""
    yield "nothing lost", lambda: pending
    yield "all lost that was not synced", list
    yield "names kept, contents lost", lambda: [one for one in pending if one.kind in NAMES]
    yield "contents kept, names lost", lambda: [one for one in pending if one.kind not in NAMES]
    newest = _newest(pending)
    single = [n for n, one in enumerate(pending) if one.kind is not Kind.COMMIT or n in newest]
    for n in single:
        kind = pending[n].kind
        before = pending[:n]
        yield f"all lost from {kind} on", partial(list, before)
        for words, torn in _torn(pending[n]):
            yield f"all lost from {kind} on, which is {words}", partial(list, [*before, torn])
            yield f"{kind} is {words}", partial(_replaced, pending, n, torn)
        yield f"{kind} lost", partial(_without, pending, {n})
    some = single if pairs is None else single[max(0, len(single) - pairs) :]
    for n, m in itertools.combinations(some, 2):
        words = f"{pending[n].kind} and {pending[m].kind} lost"
        yield words, partial(_without, pending, {n, m})


def apply(values: dict[int, Value], operation: Operation) -> None:
    """Do ``operation`` to ``values``, whose old values are left as they are."""
    node, kind = operation.node, operation.kind
    if kind in NAMES:
        values[node] = _named(values[node], operation)
    elif kind is Kind.COMMIT:
        values[node] = operation.data
    else:
        values[node] = _written(values[node], operation)


def rebuild(disk: Iterable[Entry], folder: Path) -> None:
    """Make ``disk`` below ``folder``, which is there and empty."""
    files: dict[int, Path] = {}
    for entry in disk:
        path = folder / entry.path
        if entry.made.node in files:
            path.hardlink_to(files[entry.made.node])
        elif entry.made.what == "folder":
            path.mkdir(mode=entry.made.mode)
        elif entry.made.what == "link":
            path.symlink_to(entry.made.target)
        elif entry.made.what == "database":
            path.write_bytes(entry.value)
        else:
            mode, data = entry.value
            path.write_bytes(data)
            path.chmod(mode)
            files[entry.made.node] = path


def _empty(made: Made) -> Value:
    return {"file": (made.mode, b""), "folder": {}, "link": None, "database": None}[made.what]


def _named(names: dict[str, int], operation: Operation) -> dict[str, int]:
    after = dict(names)
    if operation.kind in {Kind.NAME, Kind.RENAME}:
        if after.get(operation.before) == operation.child:
            del after[operation.before]
        after[operation.name] = operation.child
    elif operation.kind is Kind.UNNAME or after.get(operation.name) == operation.child:
        after.pop(operation.name, None)
    return after


def _written(value: tuple[int, bytes], operation: Operation) -> tuple[int, bytes]:
    mode, data = value
    if operation.kind is Kind.CHMOD:
        return operation.mode, data
    at, new = operation.offset, operation.data
    if operation.kind is Kind.TRUNCATE:
        return mode, data[: operation.size].ljust(operation.size, b"\0")
    return mode, data[:at].ljust(at, b"\0") + new + data[at + len(new) :]


def _settle(lasting: dict[int, Value], pending: list[Operation], node: int) -> list[Operation]:
    """What of ``pending`` still may be lost behind a sync of ``node``."""
    left = {one.child for one in pending if one.kind is Kind.LEAVE and one.node == node}
    far = {one.node for one in pending if one.kind is Kind.NAME and one.child in left}
    synced = {node} | far  # no file is without a name: the far side of a rename lasts first
    for one in pending:
        if one.node in synced:
            apply(lasting, one)
    return [one for one in pending if one.node not in synced]


def _newest(pending: list[Operation]) -> set[int]:
    """Of each database the places of its newest transactions, and of its oldest."""
    by_node: dict[int, list[int]] = {}
    for n, one in enumerate(pending):
        if one.kind is Kind.COMMIT:
            by_node.setdefault(one.node, []).append(n)
    return {n for places in by_node.values() for n in (places[0], *places[-NEWEST:])}


def _replaced(pending: list[Operation], n: int, torn: Operation) -> list[Operation]:
    return [*pending[:n], torn, *pending[n + 1 :]]


def _torn(one: Operation) -> Iterator[tuple[str, Operation]]:
    if one.kind is Kind.WRITE and one.data:
        yield "torn", replace(one, data=one.data[: len(one.data) // 2])
        yield "zeros", replace(one, data=bytes(len(one.data)))


def _without(pending: list[Operation], lost: set[int]) -> list[Operation]:
    """No transaction outlives an earlier one of its database, no file its last name."""
    databases = {pending[n].node: n for n in sorted(lost, reverse=True)}
    left = {pending[n].child for n in lost if pending[n].kind is Kind.NAME}

    def stays(n: int, one: Operation) -> bool:
        if one.kind is Kind.COMMIT:
            return n < databases.get(one.node, n + 1)
        return n not in lost and not (one.kind is Kind.LEAVE and one.child in left)

    return [one for n, one in enumerate(pending) if stays(n, one)]
