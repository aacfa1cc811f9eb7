"""A data set from one .npz file: for a model of one's own that comes with a small sample."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.data.snapshot import write
from edgeloop.errors import DataError
from edgeloop.plugins import register
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)


@register("source", "arrays.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Arrays:
    """Arrays by key in ``file`` (``.npz``, relative to the loop file), first axis: rows.

    ``target`` is the key of the truth (whole numbers: index into ``classes``); every other key is
    an input of the model of the same name. ``classes`` None names them ``0``, ``1`` ... up to the
    largest that occurs.
    """

    file: Path
    target: str = "label"
    classes: tuple[str, ...] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

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
        count = int(truth.max()) + 1 if truth.size and truth.dtype.kind in "iu" else 0
        classes = self.classes or tuple(str(number) for number in range(count))
        snapshot = write(
            name=path.stem,
            inputs=columns,
            target=(self.target, truth),
            answer=AnswerSpec(kind="label", params={"classes": list(classes)}),
            scratch=context.scratch,
            provenance={
                "source": "arrays",
                "sha256": self.inputs_digest(context.folder),
                "licence": "not stated",
            },
        )
        logger.info("data.done name=%s rows=%d", path.stem, snapshot.rows)
        return snapshot

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
