"""Write columns as shards, with their schema and statistics: arrays in, snapshot out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeloop import arrayfiles
from edgeloop.answers import open_kind
from edgeloop.arrayfiles import dtype_of
from edgeloop.errors import DataError
from edgeloop.types import PARTS, Snapshot, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeloop.types import AnswerSpec, Array, Arrays, Json

SHARD_BYTES = 8 * 2**20  # a device or a registry fetches and checks one shard at a time


def write(
    *,
    name: str,
    inputs: Arrays,
    target: tuple[str, Array],
    answer: AnswerSpec,
    scratch: Path,
    provenance: Mapping[str, Json],
) -> Snapshot:
    """A snapshot of ``inputs`` (``dtype[rows, ...]`` by name) and ``target`` (name, values).

    The same arrays give the same bytes. Files go to ``scratch``.

    Raises:
        DataError: no rows, columns of unequal length, a column that holds neither numbers, times
            nor texts, or a target that the answer kind cannot have.
    """
    columns = {
        column: values.astype(object) if values.dtype.kind == "U" else values
        for column, values in {**inputs, target[0]: target[1]}.items()
    }
    _check_columns(name, columns, len(target[1]))
    kind = open_kind(answer)
    try:
        kind.check_truth(target[1])
    except ValueError as fault:
        raise DataError(f"target {target[0]!r} of snapshot {name}", str(fault)) from fault
    files: dict[str, Path] = {}
    for column, values in columns.items():
        files |= write_column(column, values, scratch)
    return Snapshot(
        name=name,
        rows=len(target[1]),
        columns=tuple(
            TensorSpec(name=column, dtype=dtype_of(values), shape=values.shape[1:])
            for column, values in columns.items()
        ),
        inputs=tuple(inputs),
        target=target[0],
        answer=answer,
        files=files,
        statistics={name: describe(values) for name, values in columns.items()}
        | {target[0]: {**describe(columns[target[0]]), **kind.tally(target[1])}},
        provenance=provenance,
    )


def write_column(name: str, values: Array, scratch: Path, first: int = 0) -> dict[str, Path]:
    """``values`` by file name, in shards of at most 8 MiB, or of one row where a row is larger.

    ``first`` numbers the first shard, so that rows can be added behind shards that exist.
    """
    step = max(1, SHARD_BYTES // max(1, _row_bytes(values)))
    files = {}
    for number, start in enumerate(range(0, len(values), step), start=first):
        path = arrayfiles.save(values[start : start + step], scratch, f"{name}-{number:05d}")
        files[path.name] = path
    return files


def _row_bytes(values: Array) -> int:
    """Of one row; of texts the average."""
    if values.dtype != object:
        return int(values[:1].nbytes)
    return sum(len(text) for text in values.reshape(-1)) // max(1, len(values))


def with_column(snapshot: Snapshot, name: str, values: Array, scratch: Path) -> Snapshot:
    """``snapshot`` with the bookkeeping column ``name`` (``split`` or ``profile``, uint8[rows])."""
    kept = {k: v for k, v in snapshot.files.items() if column_of(k) != name}
    names = PARTS if name == "split" else snapshot.profiles
    return replace(
        snapshot,
        files=kept | write_column(name, values, scratch),
        statistics={**snapshot.statistics, name: share_of(values, names)},
    )


def column_of(file: str) -> str:
    """The column whose rows a snapshot's file holds."""
    return file.rsplit("-", 1)[0]


def describe(values: Array) -> dict[str, Json]:
    """Of numbers: smallest, largest, mean, deviation, missing. Of texts: different ones, missing.

    Of times the first and the last.
    """
    if values.dtype == object:
        texts = values.reshape(-1).tolist()
        return {"missing": texts.count(""), "different": len(set(texts) - {""})}
    if values.dtype.kind == "M":
        return {"first": str(values.min()), "last": str(values.max())}
    return _figures(values)


def _figures(values: Array) -> dict[str, Json]:
    import numpy as np

    numbers = values.astype(np.float64).reshape(-1)
    present = numbers[~np.isnan(numbers)]
    found: dict[str, Json] = {"missing": int(numbers.size - present.size)}
    if present.size:
        found |= {
            "min": float(present.min()),
            "max": float(present.max()),
            "mean": round(float(present.mean()), 6),
            "std": round(float(present.std()), 6),
        }
    return found


def share_of(values: Array, names: Sequence[str]) -> dict[str, Json]:
    """Rows per name of a bookkeeping column, whose values index ``names``."""
    import numpy as np

    counts = np.bincount(values, minlength=len(names))
    return {"rows": {name: int(count) for name, count in zip(names, counts, strict=True)}}


def _check_columns(name: str, columns: Arrays, count: int) -> None:
    if count == 0:
        raise DataError(f"snapshot {name}", "must have rows", got="none")
    for column, values in columns.items():
        thing = f"column {column!r} of snapshot {name}"
        if values.dtype.kind not in "iufbM" and dtype_of(values) != "str":
            raise DataError(
                thing, "must hold numbers, times or texts", got=f"dtype {dtype_of(values)}"
            )
        if len(values) != count:
            raise DataError(thing, f"must have {count} rows as the target has", got=len(values))
