"""Hold a snapshot's inputs against those that an ONNX graph takes, as faults of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeloop.errors import DataError

if TYPE_CHECKING:
    from edgeloop.types import Snapshot, TensorSpec

ROWS = "n"  # the first axis


def taken(graph: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Each input's numpy dtype and shape without the first axis; None is any size."""
    from onnx import helper

    weights = {tensor.name for tensor in graph.graph.initializer}
    found = {}
    for given in graph.graph.input:
        if given.name not in weights:
            kind = given.type.tensor_type
            sizes = tuple(axis.dim_value or None for axis in kind.shape.dim)
            found[given.name] = (str(helper.tensor_dtype_to_np_dtype(kind.elem_type)), sizes[1:])
    return found


def check_inputs(graph: Any, snapshot: Snapshot, file: str) -> None:
    """Return when the snapshot has every input that the graph in ``file`` takes, and no other.

    Raises:
        DataError: a name, dtype or shape differs.
    """
    wanted, specs = taken(graph), {spec.name: spec for spec in snapshot.input_specs()}
    if wanted.keys() != specs.keys():
        rule = f"must be {', '.join(sorted(wanted))}, as {file} takes them"
        got = ", ".join(sorted(specs))
        raise DataError(f"inputs of snapshot {snapshot.name}", rule, got=got)
    for name, (dtype, sizes) in wanted.items():
        if not _fits(specs[name], dtype, sizes):
            raise DataError(
                f"input {name!r} of snapshot {snapshot.name}",
                f"must be {_said(dtype, sizes)}, as {file} takes it",
                got=_said(specs[name].dtype, specs[name].shape),
                todo=f"Convert the data: values.astype('{dtype}')"
                if specs[name].dtype != dtype
                else "Convert the data: values.reshape(...)",
            )


def _fits(spec: TensorSpec, dtype: str, sizes: tuple[int | None, ...]) -> bool:
    pairs = zip(spec.shape, sizes, strict=False)
    same = len(spec.shape) == len(sizes) and all(want in {None, got} for got, want in pairs)
    return spec.dtype == dtype and same


def _said(dtype: str, sizes: tuple[int | None, ...]) -> str:
    return f"{dtype}[{', '.join([ROWS, *('any' if s is None else str(s) for s in sizes)])}]"
