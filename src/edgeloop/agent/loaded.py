"""A slot in memory: its bundle, a session of its runtime, and the meaning of its answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeloop.answers import AnswerKind, open_kind
from edgeloop.arrayfiles import dtype_of
from edgeloop.errors import EdgeloopError, InputMismatchError, ModelError
from edgeloop.plugins import get
from edgeloop.release.bundle import MAIN
from edgeloop.runtimes import program
from edgeloop.sketches.features import summarise
from edgeloop.types import Budget

if TYPE_CHECKING:
    from edgeloop.protocol.messages import ReleaseRef
    from edgeloop.release.bundle import Bundle
    from edgeloop.types import Array, Arrays, Pieces, Session, TensorSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the answers of a bundle mean; outlives the session that gave them."""

    ref: ReleaseRef
    kind: AnswerKind
    signals: Mapping[str, str]  # input -> summary of sketches.features
    variant: str = MAIN

    @property
    def source(self) -> str:
        """Which graph of which bundle: what windows are told apart by."""
        digest = self.ref.digest
        return digest if self.variant == MAIN else f"{digest}/{self.variant}"

    def features(self, feed: Arrays, answers: Arrays) -> dict[str, Array]:
        """``float64[n]`` per named feature of inputs and answers: what sketches are made of."""
        return {**summarise(feed, self.signals), **self.kind.features(answers)}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One bundle, ready to answer. Safe to use from several threads.

    Of a bundle with several graphs, ``bundle`` is that of the variant (:meth:`Bundle.of`).
    """

    bundle: Bundle
    meaning: Meaning
    inputs: tuple[TensorSpec, ...]
    memory: int  # how many rows before a row its answer depends on
    session: Session = field(repr=False)

    @property
    def ref(self) -> ReleaseRef:
        """Which release this is."""
        return self.meaning.ref

    @property
    def variant(self) -> str:
        """Which of the bundle's graphs this is."""
        return self.meaning.variant

    @property
    def kind(self) -> AnswerKind:
        """What its answers mean."""
        return self.meaning.kind

    def fresh(self) -> Loaded:
        """The same slot without memory of earlier rows."""
        return replace(self, session=self.session.fresh())

    def reminded(self, rows: Sequence[Arrays]) -> Loaded:
        """The same slot as if it had answered ``rows`` and none before, oldest first.

        A row that it refuses, as one of another model's inputs, is left out.
        """
        fresh, refused = self.fresh(), 0
        for row in rows[-self.memory :]:
            try:
                fresh.run(row)
            except (InputMismatchError, ModelError):
                refused += 1
        logger.info(
            "remind.done version=%d rows=%d refused=%d", self.ref.version, len(rows), refused
        )
        return fresh

    def feed(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """What an application gave for one row as arrays ``[1, *shape]`` of the model's dtypes.

        Raises:
            InputMismatchError: an input is missing, unknown, of another shape, or does not fit its
                dtype without loss.
        """
        import numpy as np

        names = [spec.name for spec in self.inputs]
        if sorted(inputs) != sorted(names):
            raise InputMismatchError(
                "inputs", f"must be {', '.join(names)}", got=", ".join(sorted(inputs)) or "none"
            )
        return {spec.name: _row(spec, np.asarray(inputs[spec.name])) for spec in self.inputs}

    def run(self, feed: Arrays) -> dict[str, Array]:
        """The answers to a batch.

        Raises:
            ModelError: the model failed, or gave fewer outputs than its answer kind has.
        """
        with self.converted():
            answers = self.session.run(feed)
        missing = [name for name in self.kind.outputs if name not in answers]
        if missing:
            raise ModelError(f"bundle {self.ref.digest}", "must give", got=f"no {missing[0]}")
        return answers

    def stream(self, feed: Arrays) -> Pieces:
        """The answer to one row, in pieces as they come; what it raises later is not converted.

        Raises:
            InputMismatchError: the model's runtime answers whole alone, or the row does not fit.
            ModelError: the model failed.
        """
        stream: Callable[[Arrays], Pieces] | None = getattr(self.session, "stream", None)
        if stream is None:
            raise InputMismatchError(
                "stream",
                "must be asked of a model whose runtime answers in pieces",
                got=self.bundle.info.runtime,
                todo="Ask for the whole answer",
            )
        with self.converted():
            return stream(feed)

    @contextmanager
    def converted(self) -> Iterator[None]:
        """What a runtime raises as :class:`ModelError`.

        A runtime's own exceptions have no common base; a model that fails must not end the
        application.
        """
        try:
            yield
        except EdgeloopError:
            raise
        except Exception as fault:  # see above
            raise ModelError(
                f"bundle {self.ref.digest}", "must answer", got=_first_line(fault)
            ) from fault


def load(ref: ReleaseRef, bundle: Bundle, threads: int, variant: str = MAIN) -> Loaded:
    """Load one graph of a bundle.

    Raises:
        ModelError: the graph is broken, or the accelerator that it wants is not here.
        UnknownPluginError, MissingExtraError: no runtime for it here.
        BundleError: there is no such variant.
    """
    whole, bundle = bundle, bundle.of(variant)
    model = bundle.model
    when = {one.name: one.when for one in whole.info.every}[variant]
    runtime = get("runtime", model.format)()
    session = runtime.load(model, Budget(threads=threads, accelerator=when.accelerator))
    kind, signals = open_kind(model.answer), bundle.info.signals
    return Loaded(
        bundle=bundle,
        meaning=Meaning(ref=ref, kind=kind, signals=signals, variant=variant),
        inputs=model.inputs,
        memory=program.memory(model),
        session=session,
    )


def _row(spec: TensorSpec, value: Array) -> Array:
    if value.shape == (1, *spec.shape):
        value = value[0]
    same = _as(spec.dtype, value) if value.shape == spec.shape else None
    if same is None:
        raise InputMismatchError(
            f"input {spec.name!r}",
            f"must be {spec.dtype}{list(spec.shape)}",
            got=f"{value.dtype}{list(value.shape)}",
            todo="One row at a time; values must fit the dtype",
        )
    return same[None]


def _as(dtype: str, value: Array) -> Array | None:
    """``value`` as ``dtype``; None when it is something else, or does not fit without loss.

    A text is a number nowhere. None (JSON's null) is a missing number or text. A float may lose its
    last digits. A time is told as ISO 8601, or in seconds since 1970; both in UTC.
    """
    import numpy as np

    if dtype == "str":
        return _texts(value)
    if value.dtype == object and dtype.startswith("float"):
        value = np.where(value == None, np.nan, value)  # noqa: E711  (for each element)
    if dtype.startswith("datetime64") and value.dtype.kind == "U":
        value = np.char.rstrip(value, "Z")
    elif value.dtype.kind == "U":
        return None
    try:
        same = value.astype(dtype)
    except (ValueError, TypeError, OverflowError):
        return None
    if same.dtype.kind == "f":
        return same if value.dtype.kind in "fiubO" else None
    return same if same.dtype.kind == "M" or bool(np.all(same == value)) else None


def _texts(value: Array) -> Array | None:
    import numpy as np

    told = value.astype(object)
    missing = np.where(told == None, "", told)  # noqa: E711  (for each element)
    return missing if dtype_of(missing) == "str" else None


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]
