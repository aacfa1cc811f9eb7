"""Take a TFLite file that exists, so that a model of one's own goes through the loop."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes import naming
from edgeloop.runtimes.litert import NAME, Tensor, tensors
from edgeloop.runtimes.naming import How, Name, Naming, Output
from edgeloop.runtimes.tflite_header import LARGEST
from edgeloop.types import Model

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Snapshot

logger = logging.getLogger(__name__)


@register("recipe", "litert_file.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LitertFile:
    """The graph in ``file`` (relative to the loop file), for answers of any kind.

    ``inputs``: column -> input of the graph, where their names differ; one of each needs none.
    ``outputs``: the answer kind's outputs, each made of one of the graph's: see ``Output``. Without
    any, they are taken by name; for the kind ``label``, ``probabilities`` is the graph's only
    output, two shares of it when that is one number per row, and ``label`` its largest.
    """

    file: Path
    inputs: Mapping[Name, Name] = Field(default_factory=dict)
    outputs: Annotated[tuple[Output, ...], Field(max_length=naming.MOST_OUTPUTS)] = ()

    libraries: ClassVar[tuple[str, ...]] = ("ai-edge-litert", "numpy")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """A model of format ``litert`` that gives the outputs of the snapshot's answer kind.

        Raises:
            MissingExtraError: LiteRT is not installed.
            ModelError: the file is missing, broken or too large, or does not answer a row as the
                answer kind has it.
            DataError: the snapshot's inputs are not those that the graph takes.
        """
        content = self._bytes(context.folder)
        given, found = tensors(content)
        path = context.scratch / NAME
        path.write_bytes(content)
        named = Naming(inputs=self._inputs(given, snapshot), outputs=self._outputs(found, snapshot))
        model = Model(
            format="litert",
            answer=snapshot.answer,
            inputs=snapshot.input_specs(),
            files={NAME: path},
            recipe="litert_file.v1",
            program=(naming.declared(named),),
            notes={"file_sha256": hashlib.sha256(content).hexdigest()},
        )
        self._try(model, snapshot, context)
        logger.info("recipe.done name=litert_file.v1 bytes=%d", len(content))
        return model

    def inputs_digest(self, folder: Path) -> str:
        """sha256 hex of the file, so that a changed file is a new step.

        Raises:
            ModelError: it cannot be read.
        """
        return hashlib.sha256(self._bytes(folder)).hexdigest()

    def _bytes(self, folder: Path) -> bytes:
        path = folder / self.file
        try:
            if path.stat().st_size > LARGEST:
                raise self._fault(f"must have {LARGEST} bytes or fewer", path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise self._fault(
                "must be readable", error.strerror, "It is relative to the loop file"
            ) from error

    def _inputs(self, given: Mapping[str, Tensor], snapshot: Snapshot) -> dict[str, str]:
        """Column -> input of the graph, for each column."""
        names = {column: self.inputs.get(column, column) for column in snapshot.inputs}
        if len(names) == len(given) == 1 and not self.inputs:
            names = dict(zip(names, given, strict=True))
        if sorted(names.values()) != sorted(given):
            raise DataError(
                f"inputs of snapshot {snapshot.name}",
                f"must be {', '.join(sorted(given))}, as {self.file.name} takes them",
                got=", ".join(sorted(names.values())),
                todo="Name each column's in recipe.inputs",
            )
        return names

    def _outputs(self, found: Mapping[str, Tensor], snapshot: Snapshot) -> tuple[Output, ...]:
        wanted = open_kind(snapshot.answer).outputs
        if self.outputs or set(wanted) <= set(found):
            return self.outputs or tuple(Output(name=name, of=name) for name in wanted)
        if wanted != ("probabilities", "label") or len(found) != 1:
            raise self._fault(
                f"must give {', '.join(wanted)}",
                ", ".join(found),
                "Say in recipe.outputs what each is made of",
            )
        ((name, tensor),) = found.items()
        how: How = "both" if tensor.shape[1:] == (1,) else "same"
        return (
            Output(name="probabilities", of=name, how=how),
            Output(name="label", of="probabilities", how="largest"),
        )

    def _try(self, model: Model, snapshot: Snapshot, context: Context) -> None:
        """Run two rows, and let the answer kind read them."""
        rows = {name: values[:2] for name, values in snapshot.feed().items()}
        answers = context.session(model).run(rows)
        kind = open_kind(model.answer)
        missing = [name for name in kind.outputs if name not in answers]
        if missing:
            raise self._fault(f"must give {', '.join(kind.outputs)}", f"no {missing[0]}")
        truth = snapshot.column(snapshot.target)[:2]
        try:
            kind.describe(answers, 0)
            kind.quality(answers, truth)
        except (ValueError, IndexError, TypeError) as error:
            shapes = {name: list(answers[name].shape) for name in kind.outputs}
            raise self._fault(
                f"must answer as the kind {snapshot.answer.kind} has it", f"{shapes}: {error}"
            ) from error
        self._check_shares(answers, snapshot)

    def _check_shares(self, answers: Mapping[str, Any], snapshot: Snapshot) -> None:
        """Where there are classes, one share of 1 for each."""
        classes = snapshot.answer.params.get("classes")
        if classes is None or "probabilities" not in answers:
            return
        shares = answers["probabilities"]
        if shares.shape[1:] != (len(classes),):
            rule = f"must answer one row with {len(classes)} probabilities"
            raise self._fault(rule, f"shape {list(shares.shape[1:])}")
        total = float(shares.sum(axis=1)[0])
        if not 0.98 <= total <= 1.02 or float(shares.min()) < 0:  # sums of int8 are that far off
            raise self._fault(
                "must give probabilities that sum to 1",
                f"{total:.4g}",
                "Set how: softmax in recipe.outputs when the output is logits",
            )

    def _fault(self, rule: str, got: object, todo: str = "") -> ModelError:
        return ModelError(f"model file {self.file.name}", rule, got=got, todo=todo)
