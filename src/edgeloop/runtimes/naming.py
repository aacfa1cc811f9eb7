"""Give a graph's inputs and outputs the names, and the forms, in which a model has them.

For forms of graphs that cannot be written anew: what ONNX has as nodes of the graph stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from edgeloop.errors import ModelError

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json, Model

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
How: TypeAlias = Literal["same", "softmax", "both", "largest"]
MOST_OUTPUTS = 64


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Output:
    """The output ``name``, made of an output of the graph or of one that stands before.

    ``same`` takes it as it is. Over the last axis, ``softmax`` makes shares of it, ``both`` makes
    the two shares ``1 - p, p`` of its one share ``p``, ``largest`` gives the place of its largest.
    """

    name: Name
    of: Name
    how: How = "same"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Naming:
    """``inputs``: name in the model -> name in the graph, where they differ.

    ``outputs``, in order; empty: as the graph gives them.
    """

    inputs: Mapping[Name, Name] = Field(default_factory=dict)
    outputs: Annotated[tuple[Output, ...], Field(max_length=MOST_OUTPUTS)] = ()

    def apply(self, found: Arrays) -> dict[str, Array]:
        """The outputs by their names in the model.

        Raises:
            ModelError: one is made of what is not there.
        """
        if not self.outputs:
            return dict(found)
        known = dict(found)
        for one in self.outputs:
            if one.of not in known:
                rule = f"must be made of one that is there: {', '.join(sorted(known))}"
                raise ModelError(f"output {one.name!r} of the model", rule, got=one.of)
            known[one.name] = _made(one.how, known[one.of])
        return {one.name: known[one.name] for one in self.outputs}


def of(model: Model) -> Naming:
    """The naming that a model's last step, ``graph``, declares.

    Raises:
        ModelError: a parameter that it cannot have.
    """
    declared: Mapping[str, Json] = model.program[-1] if model.program else {}
    params = {key: value for key, value in declared.items() if key != "step"}
    try:
        return TypeAdapter(Naming).validate_python(params)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{where} of step 'graph' of the program", first["msg"], got=repr(first["input"])
        ) from fault


def declared(naming: Naming) -> dict[str, Json]:
    """The step ``graph`` as a model declares it."""
    return {"step": "graph", **TypeAdapter(Naming).dump_python(naming, mode="json")}


def _made(how: How, values: Array) -> Array:
    import numpy as np

    if how == "same":
        return values
    if how == "largest":
        largest: Array = values.argmax(axis=-1).astype(np.int64)
        return largest
    if how == "both":
        second = values if values.shape[-1:] == (1,) else values[..., None]
        return np.concatenate([1 - second, second], axis=-1)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares
