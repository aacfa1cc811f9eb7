"""A SQLite index over a layout's artifacts: by key, by kind, by parent. Always rebuildable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeloop import durable
from edgeloop.store.layout import TODO
from edgeloop.types import Artifact

WHOLE = 1  # the ``user_version`` of an index that knows all that the layout has

SCHEMA = """
create table if not exists artifacts (
    digest text primary key, kind text not null, key text not null, plugin text not null,
    added integer not null
);
create index if not exists artifacts_by_key on artifacts (key);
create table if not exists parents (
    child text not null, parent text not null, primary key (child, parent)
);
create index if not exists parents_by_parent on parents (parent);
"""


class Index:
    """One file; every call is its own short transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as database:
            database.executescript("pragma journal_mode=wal;" + SCHEMA)

    def add(self, artifact: Artifact) -> None:
        """Remember an artifact; twice is once."""
        with self._open() as database:
            _insert(database, artifact)

    def replace(self, artifacts: Iterable[Artifact]) -> int:
        """Forget all and remember these, in one transaction; gives how many."""
        with self._open() as database:
            database.execute("begin")
            database.execute("delete from artifacts")
            database.execute("delete from parents")
            count = 0
            for artifact in artifacts:
                _insert(database, artifact)
                count += 1
            database.execute(f"pragma user_version = {WHOLE}")
            return count

    def whole(self) -> bool:
        """Whether it was ever filled; a kill or a full disk may have come before."""
        with self._open() as database:
            return bool(database.execute("pragma user_version").fetchone()[0] == WHOLE)

    def forget(self, digests: Iterable[str]) -> None:
        """Remove artifacts that the layout no longer has."""
        with self._open() as database:
            for digest in digests:
                database.execute("delete from artifacts where digest = ?", (digest,))
                database.execute("delete from parents where child = ?", (digest,))

    def by_key(self, key: str) -> str | None:
        """The newest artifact made under a step's key."""
        query = "select digest from artifacts where key = ? order by added desc limit 1"
        with self._open() as database:
            row = database.execute(query, (key,)).fetchone()
        return None if row is None else str(row[0])

    def digests(self, kind: str | None = None) -> list[str]:
        """Every artifact, of one kind when named, oldest first."""
        query = "select digest from artifacts where ? is null or kind = ? order by added, digest"
        with self._open() as database:
            return [str(row[0]) for row in database.execute(query, (kind, kind))]

    def starting_with(self, prefix: str) -> list[str]:
        """Artifacts whose digest (without ``sha256:``) starts with ``prefix``."""
        query = "select digest from artifacts where substr(digest, 8, ?) = ? order by digest"
        with self._open() as database:
            return [str(row[0]) for row in database.execute(query, (len(prefix), prefix))]

    def children(self, digest: str) -> list[str]:
        """Artifacts that have this one among their parents."""
        query = "select child from parents where parent = ? order by child"
        with self._open() as database:
            return [str(row[0]) for row in database.execute(query, (digest,))]

    def reached(self, digest: str) -> set[str]:
        """An artifact and all that it came from, also what is damaged or missing on disk."""
        query = (
            "with recursive up(digest) as (values (?) union"
            " select parent from parents join up on child = up.digest) select digest from up"
        )
        with self._open() as database:
            return {str(row[0]) for row in database.execute(query, (digest,))}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with durable.room(self._path, thing=f"store {self._path.parent}", todo=TODO):
            database = sqlite3.connect(self._path, timeout=30)
            try:
                with database:
                    yield database
            finally:
                database.close()


def _insert(database: sqlite3.Connection, artifact: Artifact) -> None:
    made = artifact.made_by
    database.execute(
        "insert or ignore into artifacts values (?, ?, ?, ?, "
        "(select coalesce(max(added), 0) + 1 from artifacts))",
        (artifact.digest, artifact.kind, made.key, made.plugin),
    )
    database.executemany(
        "insert or ignore into parents values (?, ?)",
        [(artifact.digest, parent) for parent in artifact.parents],
    )
