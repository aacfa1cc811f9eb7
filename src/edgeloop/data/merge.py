"""Add rows from the field to a snapshot, as a population of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeloop.answers import open_kind
from edgeloop.arrayfiles import dtype_of
from edgeloop.data.snapshot import column_of, describe, share_of, write_column
from edgeloop.errors import DataError
from edgeloop.types import PARTS, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.plugins import Split
    from edgeloop.types import Array, Arrays


def merge(
    old: Snapshot,
    fresh: tuple[Arrays, Array],
    profile: str,
    scratch: Path,
    *,
    split: Split,
) -> Snapshot:
    """A split snapshot with the rows of ``old``, then ``fresh`` (inputs by name, target).

    The old rows keep their part and their shards, so that only the new rows are new blobs; the
    fresh rows are split on their own by ``split`` and belong to the population ``profile``.

    Raises:
        DataError: ``old`` is not split, or the fresh columns differ from the old in name, dtype,
            shape or length.
    """
    inputs, target = fresh
    columns = {**inputs, old.target: target.astype(old.column(old.target).dtype)}
    _check(old, columns, profile)
    profiles = old.profiles if profile in old.profiles else (*old.profiles, profile)
    rows = len(target)
    parts = split.parts(columns[split.by or old.target], rare=True)
    added = {
        **columns,
        "split": parts,
        "profile": _filled(rows, profiles.index(profile)),
    }
    files = dict(old.files)
    if not any(column_of(file) == "profile" for file in files):
        files |= write_column("profile", _filled(old.rows, 0), scratch)
    for name, values in added.items():
        taken = sum(column_of(file) == name for file in files)
        files |= write_column(name, values, scratch, first=taken)
    merged = replace(old, rows=old.rows + rows, files=files, profiles=profiles)
    return replace(
        merged, statistics=_statistics(merged), provenance=_provenance(old, profile, rows)
    )


def _filled(rows: int, number: int) -> Array:
    import numpy as np

    return np.full(rows, number, dtype=np.uint8)


def _check(old: Snapshot, columns: Arrays, profile: str) -> None:
    thing = f"rows of {profile}"
    if not any(column_of(file) == "split" for file in old.files):
        raise DataError(f"snapshot {old.name}", "must be split before rows are added")
    want = {c.name: (c.dtype, tuple(c.shape)) for c in old.columns}
    got = {name: (dtype_of(v), v.shape[1:]) for name, v in columns.items()}
    if got != want:
        raise DataError(thing, f"must have the columns of snapshot {old.name}: {want}", got=got)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(thing, "must have columns of one length", got=lengths)


def _statistics(merged: Snapshot) -> dict[str, object]:
    found = {column.name: describe(merged.column(column.name)) for column in merged.columns}
    truth = merged.column(merged.target)
    return {
        **found,
        merged.target: {**found[merged.target], **open_kind(merged.answer).tally(truth)},
        "split": share_of(merged.column("split"), PARTS),
        "profile": share_of(merged.column("profile"), merged.profiles),
    }


def _provenance(old: Snapshot, profile: str, rows: int) -> dict[str, object]:
    added = [*old.provenance.get("added", ()), {"profile": profile, "rows": rows}]
    return {**old.provenance, "added": added}
