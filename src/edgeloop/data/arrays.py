"""A data set from one .npz file: for a model of one's own that comes with a small sample."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.answers.shown import shown
from edgeloop.data.snapshot import write
from edgeloop.errors import DataError, UnknownPluginError
from edgeloop.plugins import register
from edgeloop.types import AnswerSpec, Json

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

TARGET = "truth"


@register("source", "arrays.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Arrays:
    """Arrays by key in ``file`` (``.npz``, relative to the loop file), first axis: rows.

    ``target`` is the key of the truth; every other key is an input of the model of the same name.
    ``answer`` names the answer kind, ``{kind: number, level: 0.9}``, with its parameters; None is
    what the target shows: whole numbers are names from ``0`` up to the largest that occurs.
    """

    file: Path
    target: str = TARGET
    answer: dict[str, Json] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    @field_validator("answer")
    @classmethod
    def _is_a_kind(cls, answer: dict[str, Json] | None) -> dict[str, Json] | None:
        if answer is not None:
            try:
                open_kind(_spec(answer))
            except (KeyError, UnknownPluginError, ValidationError) as fault:
                rule = "must name an answer kind, {kind: ...}, and its parameters"
                raise ValueError(f"{rule}, got {answer}") from fault
        return answer

    def load(self, context: Context) -> Snapshot:
        """One column per key.

        Raises:
            DataError: the file is missing, no .npz of plain numbers, or lacks target or inputs; or
                a column does not fit (see ``data.snapshot.write``).
        """
        import numpy as np

        path = context.folder / self.file
        columns = self._read(path)
        truth = columns.pop(self.target)
        if truth.dtype.kind in "iu":
            truth = truth.astype(np.int64)
        snapshot = write(
            name=path.stem,
            inputs=columns,
            target=(self.target, truth),
            answer=self._answer(truth),
            scratch=context.scratch,
            provenance={
                "source": "arrays",
                "sha256": self.inputs_digest(context.folder),
                "licence": "not stated",
            },
        )
        logger.info("data.done name=%s rows=%d", path.stem, snapshot.rows)
        return snapshot

    def _answer(self, truth: Array) -> AnswerSpec:
        if self.answer is not None:
            return _spec(self.answer)
        try:
            return shown(truth)
        except ValueError as fault:
            raise DataError(f"target {self.target!r} of file {self.file}", str(fault)) from fault

    def inputs_digest(self, folder: Path) -> str:
        """sha256 hex of the file.

        Raises:
            DataError: it cannot be read.
        """
        path = folder / self.file
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(
                f"file {self.file}",
                "must be readable",
                got=error.strerror,
                todo="It is relative to the loop file",
            ) from error

    def _read(self, path: Path) -> dict[str, Array]:
        import numpy as np

        try:
            with path.open("rb") as file, zipfile.ZipFile(file):  # np.load also takes other forms
                opened = np.load(file, allow_pickle=False)
                columns = {key: opened[key] for key in sorted(opened.files)}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"file {self.file}",
                "must be an .npz file of plain numbers",
                got=str(error).splitlines()[0],
                todo="Write it with numpy.savez(file, <input>=..., <target>=...)",
            ) from error
        if self.target not in columns or len(columns) == 1:
            raise DataError(
                f"file {self.file}",
                f"must hold the target {self.target!r} and at least one input",
                got=", ".join(columns) or "nothing",
            )
        return columns


def _spec(answer: dict[str, Json]) -> AnswerSpec:
    params = {name: value for name, value in answer.items() if name != "kind"}
    return AnswerSpec(kind=answer["kind"], params=params)
