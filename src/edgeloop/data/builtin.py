"""Data sets that need no files of one's own: one loader, origins tried in order."""

from __future__ import annotations

import importlib
import pkgutil
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.data import sets
from edgeloop.data.sets import pictures
from edgeloop.plugins import register

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeloop.plugins import Context
    from edgeloop.types import Snapshot


def names() -> tuple[str, ...]:
    """Every data set: those of ``sets.pictures``, and each other module of ``data.sets``."""
    modules = {one.name.replace("_", "-") for one in pkgutil.iter_modules(sets.__path__)}
    return tuple(sorted({*pictures.DATA_SETS, *(modules - {"pictures"})}))


@register("source", "builtin.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Builtin:
    """A data set by name. Each of its files comes from the first origin that has it.

    In this order: an installed Python package, a system package's folder, the cache
    (``$EDGELOOP_CACHE``, else ``$XDG_CACHE_HOME/edgeloop``, else ``~/.cache/edgeloop``), and the
    official address, whose file then goes to the cache. Bytes whose digest is not the recorded one
    are not taken, wherever they lie.

    ``share`` takes that much (0 to 1) of the rows, always the same ones; with ``rest`` it is the
    others instead, so that a trial can be made on data that no model has seen.
    """

    dataset: str
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    rest: bool = False

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in names():
            raise ValueError(f"must be one of {', '.join(names())}")
        return dataset

    @model_validator(mode="after")
    def _some_rows(self) -> Self:
        if self.rest and self.share == 1:
            raise ValueError("rest has no rows when share is 1")
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """The module that reads the data set: the step's key covers it."""
        name = "pictures" if self.dataset in pictures.DATA_SETS else self.dataset
        return (f"{sets.__name__}.{name.replace('-', '_')}",)

    def load(self, context: Context) -> Snapshot:
        """The rows; each data set's module says which columns it has.

        The same data set gives the same snapshot bytes wherever its files were found.

        Raises:
            DataSourceError: a file that no origin could give, with each origin and why.
        """
        return self._loader()(context, share=self.share, rest=self.rest)

    def _loader(self) -> Callable[..., Snapshot]:
        if self.dataset in pictures.DATA_SETS:
            return partial(pictures.load, self.dataset)
        module: Any = importlib.import_module(self.modules[0])
        loader: Callable[..., Snapshot] = module.load
        return loader
