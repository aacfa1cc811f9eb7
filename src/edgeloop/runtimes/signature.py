"""Hold what an application gives a model against the inputs that the model states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.arrayfiles import dtype_of
from edgeloop.errors import InputMismatchError

if TYPE_CHECKING:
    from edgeloop.types import Arrays, TensorSpec


def check_inputs(specs: tuple[TensorSpec, ...], inputs: Arrays) -> None:
    """Return when every input is there, of its dtype and shape, with one number of rows.

    Raises:
        InputMismatchError: one is not; the message names it and what it must be.
    """
    names = [spec.name for spec in specs]
    if sorted(inputs) != sorted(names):
        raise InputMismatchError(
            "inputs", f"must be {', '.join(names)}", got=", ".join(sorted(inputs)) or "none"
        )
    for spec in specs:
        given = inputs[spec.name]
        if dtype_of(given) != spec.dtype or given.shape[1:] != spec.shape or given.ndim == 0:
            size = "".join(f", {length}" for length in spec.shape)
            raise InputMismatchError(
                f"input {spec.name!r}",
                f"must be {spec.dtype}[n{size}]",
                got=f"{dtype_of(given)}[{', '.join(str(length) for length in given.shape)}]",
                todo="The first axis is the number of rows",
            )
    rows = {name: len(inputs[name]) for name in names}
    if len(set(rows.values())) > 1:
        raise InputMismatchError("inputs", "must have one number of rows", got=rows)
