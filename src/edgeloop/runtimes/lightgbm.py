"""Run boosted trees as LightGBM trained them; for reference, never on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes.encoding import load
from edgeloop.runtimes.signature import check_inputs

if TYPE_CHECKING:
    from edgeloop.runtimes.encoding import Encoding
    from edgeloop.types import Array, Arrays, Budget, Model

NAME = "model.txt"
END = "end of parameters"  # stands at the end of each file that LightGBM writes


@register("runtime", "lightgbm.v1")
@dataclass(frozen=True, kw_only=True)
class LightgbmRuntime:
    """Loads ``model.txt`` and ``encoding.json`` of a model whose format is ``lightgbm``."""

    libraries: ClassVar[tuple[str, ...]] = ("lightgbm", "numpy")
    reference_only: ClassVar[bool] = True  # for checks; devices run what passes export

    def load(self, model: Model, budget: Budget) -> LightgbmSession:
        """A session that uses ``budget.threads`` threads.

        Raises:
            MissingExtraError: LightGBM is not installed.
            ModelError: a file is missing or broken, or the two do not belong together.
        """
        encoding = load(model.files)
        return LightgbmSession(booster(model, encoding), encoding, model, budget.threads)


class LightgbmSession:
    """Loaded trees. Safe to use from several threads."""

    def __init__(self, trees: Any, encoding: Encoding, model: Model, threads: int) -> None:
        self._trees, self._encoding, self._threads = trees, encoding, threads
        self._inputs = model.inputs
        self._table, self._chosen = open_kind(model.answer).outputs

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """The answer kind's outputs: two probabilities, float32[n, 2], and the larger one's place.

        Raises:
            InputMismatchError: a name, dtype, shape or number of rows is not the model's.
        """
        import numpy as np

        check_inputs(self._inputs, inputs)
        table = self._encoding.table(inputs)
        second = self._trees.predict(table, num_threads=self._threads).astype(np.float32)
        both = np.stack([1 - second, second], axis=1)
        return {self._table: both, self._chosen: both.argmax(axis=1)}

    def fresh(self) -> LightgbmSession:
        """Itself: trees have no memory."""
        return self


def library() -> Any:
    """The module ``lightgbm``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError(
            "lightgbm", "must be installed for boosted trees", todo="pip install 'edgeloop[income]'"
        ) from error
    return lightgbm


def booster(model: Model, encoding: Encoding) -> Any:
    """The ``lightgbm.Booster`` of a model's files.

    Raises:
        MissingExtraError: LightGBM is not installed.
        ModelError: the file is missing or broken, or has other columns than ``encoding``.
    """
    lightgbm = library()
    text = _text(model)
    try:
        trees = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise _broken(str(error).splitlines()[0]) from error
    columns = len(encoding.columns)
    if trees.num_feature() != columns:
        raise _broken(f"{trees.num_feature()} columns, and {columns} in encoding.json")
    return trees


def _text(model: Model) -> str:
    """The file's text, which is whole: LightGBM's parser crashes on some that are cut short."""
    try:
        text = model.files.get(NAME, Path(NAME)).read_text("ascii")
    except (OSError, ValueError) as error:
        raise _broken(str(error).splitlines()[0]) from error
    if END not in text[-200:]:
        raise _broken("a file that is cut short")
    return text


def _broken(got: str) -> ModelError:
    return ModelError(
        f"model file {NAME}",
        "must be whole trees of LightGBM that belong to their encoding",
        got=got,
        todo="Build the model again; `edgeloop verify` tells which blobs are broken",
    )
