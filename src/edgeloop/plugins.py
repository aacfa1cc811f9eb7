"""The registry of plugins, by kind, name and version, with what a step gives them to work with.

A plugin is a frozen pydantic dataclass with one method. Third parties register theirs through the
entry point group ``edgeloop.plugins``, whose values are modules that call :func:`register`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edgeloop.errors import MissingExtraError, UnknownPluginError
from edgeloop.types import Budget, Finding, Model, Progress, Session, Snapshot, silent

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edgeloop.types import Array

KINDS = {  # kind -> the room whose modules hold ours
    "source": "edgeloop.data",
    "split": "edgeloop.data",
    "recipe": "edgeloop.recipes",
    "pass": "edgeloop.passes",
    "check": "edgeloop.checks",
    "runtime": "edgeloop.runtimes",
    "answer": "edgeloop.answers",
}

T = TypeVar("T", bound=type)
_plugins: dict[tuple[str, str], type] = {}
_loaded: set[str] = set()


class Run(Protocol):
    """One tracked training run."""

    def params(self, values: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int) -> None: ...


class Tracker(Protocol):
    """Where parameters and curves of a training go (MLflow, or nowhere)."""

    def run(self, name: str) -> AbstractContextManager[Run]: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step may use beside its own parameters. Only what the plugin ``needs`` is set.

    ``reference`` is the model that the recipe built (float), ``current`` the channel's newest
    release with its variants in ``current_variants`` by name and the releases before it in
    ``earlier`` by digest, newest first; ``start`` is the model to fine-tune from. ``scratch`` is an
    empty folder of this step, ``folder`` the loop file's, from which relative paths of a plugin's
    fields are meant. Answers to held-out rows are in ``answered`` once a step of the same run has
    asked for them.
    """

    scratch: Path
    folder: Path = Path()
    seed: int = 0
    snapshot: Snapshot | None = None
    reference: Model | None = None
    current: Model | None = None
    current_variants: Mapping[str, Model] = field(default_factory=dict)
    earlier: Mapping[str, Model] = field(default_factory=dict)
    start: Model | None = None
    progress: Progress = silent
    tracker: Tracker | None = None
    budget: Budget = field(default_factory=Budget)
    answered: dict[Any, dict[str, Array]] = field(default_factory=dict, repr=False)

    def session(self, model: Model, budget: Budget | None = None) -> Session:
        """``model`` loaded by the runtime of its format.

        Raises:
            UnknownPluginError: no runtime loads this format.
        """
        runtime = get("runtime", model.format)()
        session: Session = runtime.load(model, budget or self.budget)
        return session

    def data(self) -> Snapshot:
        """The snapshot of a plugin that named it in ``needs``."""
        if self.snapshot is None:
            raise LookupError("this step did not name 'snapshot' in its needs")
        return self.snapshot


class Source(Protocol):
    """A data set by address: rows in, snapshot out."""

    def load(self, context: Context) -> Snapshot: ...


class Split(Protocol):
    """How rows are divided. ``by`` names the column that decides; None is the target.

    ``parts`` is the part of each row (uint8[n], index into ``PARTS``) by that column's values; with
    ``rare`` it never raises for too few rows, it keeps them for training.
    """

    by: str | None

    def run(self, snapshot: Snapshot, context: Context) -> Snapshot: ...
    def parts(self, values: Array, *, rare: bool = False) -> Array: ...


class Recipe(Protocol):
    """How a model is built from data. With ``context.start`` it fine-tunes that model.

    ``module(model)`` gives back the ``torch.nn.Module`` (raw inputs to answer) of a "torch" model.
    """

    def build(self, snapshot: Snapshot, context: Context) -> Model: ...


class Pass(Protocol):
    """Model in, model out; ``model`` is untouched."""

    def run(self, model: Model, context: Context) -> Model: ...


class Check(Protocol):
    """Model in, finding out. A bad model is a finding; only a broken check raises."""

    def run(self, model: Model, context: Context) -> Finding: ...


class Runtime(Protocol):
    """Loads one format."""

    def load(self, model: Model, budget: Budget) -> Session: ...


def register(kind: str, name: str) -> Callable[[T], T]:
    """Register a class as ``kind`` under ``name``, ``"quantize.v1"``; people may leave out ``.v1``.

    A class may state ``libraries`` (distributions whose versions its result depends on), ``needs``
    (names of :class:`Context` fields that it uses; they become parents of its step),
    ``needs_by_field`` (further ones, by the field that asks for them when it is set) and
    ``machine_bound`` (True when its result holds for this machine only).
    """

    def keep(plugin: T) -> T:
        plugin.plugin_name = name  # type: ignore[attr-defined]  # what keys and findings read
        _plugins[kind, name] = plugin
        return plugin

    return keep


def needs(plugin: Any) -> tuple[str, ...]:
    """The fields of :class:`Context` that ``plugin`` uses, as its class and its own fields say."""
    always: tuple[str, ...] = getattr(type(plugin), "needs", ())
    by_field: Mapping[str, tuple[str, ...]] = getattr(type(plugin), "needs_by_field", {})
    asked = (names for field, names in by_field.items() if getattr(plugin, field))
    return (*always, *(name for names in asked for name in names))


def get(kind: str, name: str) -> type[Any]:
    """The class registered as ``kind`` under ``name``, with or without its version.

    Without a version the highest is taken.

    Raises:
        UnknownPluginError: nothing of that name, with the names there are.
    """
    load(kind)
    if (kind, name) in _plugins:
        return _plugins[kind, name]
    versions = [n for k, n in _plugins if k == kind and n.rpartition(".v")[0] == name]
    if not versions:
        known = ", ".join(names(kind)) or "none"
        raise UnknownPluginError(
            f"{kind} {name!r}",
            "must be a registered name",
            todo=f"Known: {known}. A third party's package must be installed here",
        )
    newest = max(versions, key=lambda n: int(n.rpartition(".v")[2]))
    return _plugins[kind, newest]


def names(kind: str) -> tuple[str, ...]:
    """Every registered name of a kind, sorted, with versions."""
    load(kind)
    return tuple(sorted(n for k, n in _plugins if k == kind))


def load(kind: str) -> None:
    """Import our modules of a kind, once, and every third party's entry point."""
    if kind in _loaded:
        return
    _loaded.add(kind)
    room = importlib.import_module(KINDS[kind])
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")
    if "entry points" not in _loaded:
        _loaded.add("entry points")
        for point in entry_points(group="edgeloop.plugins"):
            try:
                point.load()
            except (ImportError, AttributeError, SyntaxError) as fault:
                raise MissingExtraError(
                    f"plugin package {point.value!r}",
                    "must be importable",
                    got=fault,
                    todo="Mend or uninstall it: it registers under edgeloop.plugins",
                ) from fault
