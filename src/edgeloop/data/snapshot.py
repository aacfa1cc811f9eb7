"""Write columns as shards, with their schema and statistics: arrays in, snapshot out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
        DataError: no rows, columns of unequal length, a column that holds no numbers, or a class
            index that the answer kind does not have.
    """
    columns = {**inputs, target[0]: target[1]}
    _check_columns(name, columns, len(target[1]))
    classes = answer.params.get("classes")
    _check_classes(name, target, classes)
    files: dict[str, Path] = {}
    for column, values in columns.items():
        files |= write_column(column, values, scratch)
    return Snapshot(
        name=name,
        rows=len(target[1]),
        columns=tuple(
            TensorSpec(name=column, dtype=str(values.dtype), shape=values.shape[1:])
            for column, values in columns.items()
        ),
        inputs=tuple(inputs),
        target=target[0],
        answer=answer,
        files=files,
        statistics={
            column: describe(values, classes if column == target[0] else None)
            for column, values in columns.items()
        },
        provenance=provenance,
    )


def write_column(name: str, values: Array, scratch: Path, first: int = 0) -> dict[str, Path]:
    """``values`` by file name, in shards of at most 8 MiB, or of one row where a row is larger.

    ``first`` numbers the first shard, so that rows can be added behind shards that exist.
    """
    import numpy as np

    step = max(1, SHARD_BYTES // max(1, values[:1].nbytes))
    files = {}
    for number, start in enumerate(range(0, len(values), step), start=first):
        path = scratch / f"{name}-{number:05d}.npy"
        np.save(path, np.ascontiguousarray(values[start : start + step]), allow_pickle=False)
        files[path.name] = path
    return files


def with_column(snapshot: Snapshot, name: str, values: Array, scratch: Path) -> Snapshot:
    """``snapshot`` with the bookkeeping column ``name`` (``split`` or ``profile``, uint8[rows])."""
    kept = {k: v for k, v in snapshot.files.items() if column_of(k) != name}
    labels = PARTS if name == "split" else snapshot.profiles
    return replace(
        snapshot,
        files=kept | write_column(name, values, scratch),
        statistics={**snapshot.statistics, name: describe(values, labels)},
    )


def column_of(file: str) -> str:
    """The column whose rows a snapshot's file holds."""
    return file.rsplit("-", 1)[0]


def describe(values: Array, classes: Sequence[str] | None) -> dict[str, Json]:
    """Smallest, largest, mean, deviation, missing values, and rows per class if any."""
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
    if classes is not None:
        counts = np.bincount(values.astype(np.int64), minlength=len(classes))
        found["classes"] = {c: int(n) for c, n in zip(classes, counts, strict=True)}
    return found


def _check_columns(name: str, columns: Arrays, rows: int) -> None:
    if rows == 0:
        raise DataError(f"snapshot {name}", "must have rows", got="none")
    for column, values in columns.items():
        thing = f"column {column!r} of snapshot {name}"
        if values.dtype.kind not in "iufb":
            raise DataError(thing, "must hold numbers", got=f"dtype {values.dtype}")
        if len(values) != rows:
            raise DataError(thing, f"must have {rows} rows as the target has", got=len(values))


def _check_classes(name: str, target: tuple[str, Array], classes: Sequence[str] | None) -> None:
    if classes is None:
        return
    values = target[1]
    whole = values.dtype.kind in "iub" and values.ndim == 1
    if not whole or values.min() < 0 or values.max() >= len(classes):
        raise DataError(
            f"column {target[0]!r} of snapshot {name}",
            f"must hold whole numbers from 0 to {len(classes) - 1}, one per row",
            got=f"{values.dtype}{list(values.shape)} from {values.min()} to {values.max()}",
            todo="Each number is the index of one of the classes",
        )
