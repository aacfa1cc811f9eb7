"""Tensors as the Open Inference Protocol writes them in JSON, and as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeloop.errors import InputMismatchError, ProtocolError

if TYPE_CHECKING:
    from edgeloop.types import Array, Json

TEXT = "BYTES"  # texts, and times as ISO 8601
DTYPES = {  # the protocol's names -> numpy's
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    TEXT: "str",
}
DATATYPES = {ours: theirs for theirs, ours in DTYPES.items()}


def datatype(dtype: str) -> str:
    """The protocol's name of a numpy dtype."""
    return DATATYPES.get(dtype, TEXT)


def read(item: Any, expected: Mapping[str, str]) -> tuple[str, Array]:
    """One input: ``name``, ``shape``, ``datatype``, ``data`` (flat or nested).

    ``expected`` is the datatype of each input that the model has.

    Raises:
        ProtocolError: the four do not fit together.
        InputMismatchError: the model's input of that name has another datatype.
    """
    import numpy as np

    try:
        name, shape = str(item["name"]), [int(size) for size in item["shape"]]
        told, data = item["datatype"], item["data"]
        if told != expected.get(name, told):
            rule = f"must have datatype {expected[name]}"
            raise InputMismatchError(f"input {name!r}", rule, got=told)
        return name, np.asarray(data, dtype=DTYPES[told]).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise ProtocolError(
            "input", "must have name, shape, datatype and data that fit together", got=repr(fault)
        ) from fault


def written(name: str, values: Array) -> Json:
    """One output, its data flat."""
    texts = values.astype(str) if values.dtype.kind == "M" else values
    return {
        "name": name,
        "shape": list(values.shape),
        "datatype": datatype(str(values.dtype)),
        "data": texts.reshape(-1).tolist(),
    }


def described(name: str, dtype: str, shape: tuple[int, ...]) -> Json:
    """What metadata says of a tensor; an agent takes and gives one row."""
    return {"name": name, "datatype": datatype(dtype), "shape": [1, *shape]}
