"""The declared program of a model: known steps around its graph, from a closed list.

A model names its steps in order (``Model.program``); one of them is its runtime's own. No code of a
bundle runs: a step is one of this package's modules, with parameters and the bundle's files.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from edgeloop.errors import ModelError
from edgeloop.runtimes.program.constants import Constants
from edgeloop.runtimes.program.steps import OWN, Running, Step, known, step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeloop.types import Array, Arrays, Json, Model, Session, TensorSpec

__all__ = [
    "OWN",
    "Programmed",
    "Running",
    "Step",
    "answers_to",
    "before",
    "constants",
    "files",
    "graph_inputs",
    "known",
    "memory",
    "needs",
    "prepared",
    "rows_at",
    "step",
    "stretches",
    "wrap",
]

AT_ONCE = 256  # rows that a session is asked together


def needs(program: tuple[Mapping[str, Json], ...]) -> tuple[str, ...]:
    """The steps that a device must know for a program, the runtime's own left out."""
    return tuple(sorted({str(one.get("step")) for one in program} - set(OWN)))


def graph_inputs(model: Model) -> tuple[TensorSpec, ...]:
    """What the graph itself takes: the model's inputs after the steps before it.

    Raises:
        ModelError: the program names a step that is not on the list, or has wrong parameters.
    """
    specs = model.inputs
    for one in before(model):
        specs = one.gives(specs)
    return specs


def prepared(model: Model, rows: Arrays) -> dict[str, Any]:
    """What the graph gets of the model's inputs: ``rows`` after the steps before it.

    Raises:
        ModelError: as :func:`graph_inputs`, or a file of a step is missing or broken.
        InputMismatchError: as :meth:`Programmed.run`.
    """
    import numpy as np

    parts = []
    for stretch in stretches(model, rows):
        seen = rows_at(rows, stretch)
        for one in before(model):
            seen = one.open(model.files).run(seen)
        parts.append(seen)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def constants(model: Model) -> dict[str, Any]:
    """The tensors that a runtime loads the graph with, by their names in it; {} for most models.

    Raises:
        ModelError: as :func:`graph_inputs`, or the file of the tensors is missing or broken.
    """
    found: dict[str, Any] = {}
    for one in before(model):
        if isinstance(one, Constants):
            found |= one.tensors(model.files)
    return found


def files(model: Model) -> dict[str, Path]:
    """The files that the steps read: a pass that writes the graph anew keeps them beside it."""
    named = {getattr(one, "file", None) for one in before(model)}
    return {name: path for name, path in model.files.items() if name in named}


def memory(model: Model) -> int:
    """How many rows the model remembers: answers begin behind so many; 0 for most models."""
    return max((getattr(one, "memory", 0) for one in before(model)), default=0)


def stretches(model: Model, rows: Arrays) -> list[slice]:
    """The parts of a table in which each row follows the one before; in order, they are all of it.

    A table may hold the series of several devices, one behind the other. One part, which is empty
    where there are no rows, for a model that remembers nothing.
    """
    count = len(next(iter(rows.values())))
    breaks = {
        place for one in before(model) for place in getattr(one, "breaks", lambda _: ())(rows)
    }
    edges = [0, *sorted(breaks), count]
    return [slice(*pair) for pair in pairwise(edges)]


def answers_to(rows: Arrays, model: Model, session: Session) -> dict[str, Any]:
    """Every output of ``model`` on a table of rows; ``session`` is its own, and is left as it was.

    Raises:
        InputMismatchError: the rows are not the model's, or a step cannot take one.
    """
    import numpy as np

    parts = []
    for stretch in stretches(model, rows):
        fresh = session.fresh()
        for start in range(stretch.start, max(stretch.stop, stretch.start + 1), AT_ONCE):
            places = slice(start, min(start + AT_ONCE, stretch.stop))
            parts.append(fresh.run(rows_at(rows, places)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_at(rows: Arrays, places: Array | slice) -> dict[str, Any]:
    """Of every column the rows at ``places`` (numbers, a mask or a slice)."""
    return {name: values[places] for name, values in rows.items()}


def wrap(model: Model, graph: Session) -> Session:
    """``graph`` with the program's steps before it; ``graph`` itself when there are none.

    Raises:
        ModelError: as :func:`graph_inputs`, or a file of a step is missing or broken.
    """
    steps = tuple(one.open(model.files) for one in before(model))
    return Programmed(steps, graph) if steps else graph


class Programmed:
    """A session whose inputs go through steps first. As safe for threads as its steps are."""

    def __init__(self, steps: tuple[Running, ...], graph: Session) -> None:
        self._steps, self._graph = steps, graph

    def run(self, inputs: Arrays) -> dict[str, Any]:
        """Every output by name; the first axis is the batch.

        Raises:
            InputMismatchError: an input is not what the first step that uses it can take.
        """
        for one in self._steps:
            inputs = one.run(inputs)
        return self._graph.run(inputs)

    def fresh(self) -> Programmed:
        """The same model without memory of earlier rows."""
        return Programmed(tuple(one.fresh() for one in self._steps), self._graph.fresh())


def before(model: Model) -> tuple[Step, ...]:
    """The steps before the runtime's own, made of their declarations.

    Raises:
        ModelError: as :func:`graph_inputs`.
    """
    names = [str(one.get("step")) for one in model.program]
    own = [place for place, name in enumerate(names) if name in OWN]
    if names and own != [len(names) - 1]:
        rule = f"must end with one of the runtime's own steps: {', '.join(OWN)}"
        raise ModelError("program of the model", rule, got=", ".join(names))
    return tuple(opened(one) for one in model.program[:-1])


def opened(declared: Mapping[str, Json]) -> Step:
    """A step of the list, with its parameters checked.

    Raises:
        ModelError: no such step in this version, or a parameter that it cannot have.
    """
    name, steps = str(declared.get("step")), known()
    if name not in steps:
        raise ModelError(
            f"step {name!r} of the program",
            f"must be one of {', '.join(sorted(steps))}",
            todo="Update edgeloop, or leave the step out",
        )
    params = {key: value for key, value in declared.items() if key != "step"}
    try:
        made: Step = TypeAdapter(steps[name]).validate_python(params)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{where} of step {name!r} of the program", first["msg"], got=repr(first["input"])
        ) from fault
    return made
