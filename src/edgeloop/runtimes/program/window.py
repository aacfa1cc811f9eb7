"""The step ``window``: keeps the newest readings of a series, so that a graph sees its past."""

from __future__ import annotations

from dataclasses import dataclass as value
from threading import Lock
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.program.steps import step
from edgeloop.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgeloop.types import Array, Arrays

TIMES = ("datetime64[s]", "int64")  # int64: seconds since 1970
NO_TIME = -(2**63)  # what numpy makes of NaT


@step("window")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Window:
    """``time`` and ``value`` of one reading per row, in; ``history`` float32[size] and time, out.

    ``history`` holds the newest ``size`` readings, oldest first, the row's own as the last; it is
    all NaN until there are so many, and the graph must then answer NaN: no answer yet. Readings are
    ``every`` seconds apart. Rows of a call follow each other and the rows of the calls before.

    Up to ``fill`` missing readings in a row (a gap in the times, or a value that is NaN) are filled
    with the reading before them. After more the window starts anew, and is empty. A time that is
    not later than the one before is refused; one that is more than ``fill`` readings earlier is a
    clock that was set, and starts the window anew, so that one wrong time cannot stop a device. A
    value that is infinite, below ``least`` or above ``most`` is refused. A refused call leaves the
    window as it was.
    """

    size: Annotated[int, Field(ge=2, le=65536)]
    every: Annotated[int, Field(ge=1)]
    fill: Annotated[int, Field(ge=0)] = 0
    time: str = "time"
    value: str = "value"
    least: float | None = None
    most: float | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    @model_validator(mode="after")
    def _leaves_readings(self) -> Self:
        if self.fill >= self.size:
            raise ValueError(f"fill must be below size, {self.size}: a window is not all filling")
        return self

    @property
    def memory(self) -> int:
        """How many rows before a row its history shows."""
        return self.size - 1

    def breaks(self, rows: Arrays) -> list[int]:
        """Where another series begins: at a time that is not later than the one before."""
        import numpy as np

        falls: list[int] = np.flatnonzero(np.diff(rows[self.time].astype("int64")) <= 0).tolist()
        return [place + 1 for place in falls]

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        """``history`` in place of the value, time as int64 seconds, and all other inputs.

        Raises:
            ModelError: the inputs lack time or value, or have them in another form.
        """
        forms = {spec.name: (spec.dtype, spec.shape) for spec in inputs}
        times = [(dtype, ()) for dtype in TIMES]
        if forms.get(self.time) not in times or forms.get(self.value) != ("float32", ()):
            raise ModelError(
                "step 'window' of the program",
                f"must be given {self.time}, {' or '.join(TIMES)}, and {self.value}, float32,"
                " one of each per row",
                got=", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in inputs),
            )
        return tuple(self._after(spec) for spec in inputs)

    def _after(self, spec: TensorSpec) -> TensorSpec:
        if spec.name == self.time:
            return TensorSpec(name=spec.name, dtype="int64", shape=())
        if spec.name == self.value:
            return TensorSpec(name="history", dtype="float32", shape=(self.size,))
        return spec

    def open(self, files: Mapping[str, Path]) -> RunningWindow:  # noqa: ARG002
        """An empty window."""
        return RunningWindow(self)


@value(frozen=True, kw_only=True)
class _Ring:
    """The newest readings: a value, so that a refused call can leave it as it was."""

    readings: np.ndarray[tuple[int], np.dtype[np.float32]]  # oldest first, NaN in front
    time: int | None = None  # of the newest
    filled: int = 0  # so many of the newest in a row were filled in


class RunningWindow:
    """An opened window with its memory. Safe to use from several threads, one call at a time."""

    def __init__(self, settings: Window) -> None:
        self._settings, self._lock = settings, Lock()
        self._ring = self._empty()

    def fresh(self) -> RunningWindow:
        """An empty window of the same kind."""
        return RunningWindow(self._settings)

    def run(self, feed: Arrays) -> dict[str, Array]:
        """``history`` float32[n, size] and time int64[n] for n readings that follow each other.

        Raises:
            InputMismatchError: an input is missing or of another form, or a reading cannot be: its
                time does not rise, or its value is outside its limits.
        """
        import numpy as np

        times, values = self._taken(feed)
        histories = np.empty((len(times), self._settings.size), dtype=np.float32)
        with self._lock:
            ring = self._ring
            for row, (time, reading) in enumerate(zip(times.tolist(), values, strict=True)):
                ring = self._with(ring, time, reading)
                histories[row] = ring.readings
            self._ring = ring
        histories[np.isnan(histories).any(axis=1)] = np.nan
        rest = {
            k: v for k, v in feed.items() if k not in {self._settings.time, self._settings.value}
        }
        return {self._settings.time: times, "history": histories, **rest}

    def _taken(self, feed: Arrays) -> tuple[Array, Array]:
        """Times int64[n] and readings float32[n], each of which can be."""
        names = (self._settings.time, self._settings.value)
        if not set(names) <= set(feed):
            given = ", ".join(sorted(feed)) or "none"
            raise InputMismatchError("inputs", f"must have {', '.join(names)}", got=given)
        times, values = (feed[name] for name in names)
        formed = str(times.dtype) in TIMES and str(values.dtype) == "float32"
        if not formed or values.ndim != 1 or times.shape != values.shape:
            raise InputMismatchError(
                f"inputs {' and '.join(names)}",
                f"must be {' or '.join(TIMES)}, and float32, one of each per row",
                got=f"{times.dtype}{list(times.shape)} and {values.dtype}{list(values.shape)}",
            )
        seconds = times.astype("int64")
        if (seconds == NO_TIME).any():
            raise InputMismatchError(f"input {self._settings.time!r}", "must be a time", got="NaT")
        self._check_limits(values)
        return seconds, values

    def _check_limits(self, values: Array) -> None:
        import numpy as np

        least = -np.inf if self._settings.least is None else self._settings.least
        most = np.inf if self._settings.most is None else self._settings.most
        absurd = values[np.isinf(values) | (values < least) | (values > most)]
        if len(absurd):
            raise InputMismatchError(
                f"input {self._settings.value!r}",
                f"must be finite and from {least:g} to {most:g}, or NaN where it is missing",
                got=f"{absurd[0]:g}",
                todo="Look at the sensor: a reading like this does not enter the window",
            )

    def _empty(self) -> _Ring:
        import numpy as np

        return _Ring(readings=np.full(self._settings.size, np.nan, dtype=np.float32))

    def _with(self, ring: _Ring, time: int, reading: np.float32) -> _Ring:
        """The window behind one more reading."""
        missed = 0 if ring.time is None else self._missed(ring.time, time)
        if missed < 0 or ring.filled + missed > self._settings.fill:
            ring, missed = self._empty(), 0
        return self._pushed(ring, time, reading, missed)

    def _missed(self, last: int, time: int) -> int:
        """How many readings lie between two times; -1 when the clock was set far back.

        Raises:
            InputMismatchError: the time is not later, yet no more than ``fill`` readings earlier.
        """
        steps = (2 * (time - last) + self._settings.every) // (2 * self._settings.every)
        if steps < -self._settings.fill:
            return -1
        if steps < 1:
            raise InputMismatchError(
                f"input {self._settings.time!r}",
                f"must be a reading, {self._settings.every} s, later than the one before",
                got=f"{_said(time)} after {_said(last)}",
                todo="A reading that was sent twice is left out; after a clock was set back,"
                " the window goes on once its time is reached again",
            )
        return steps - 1

    def _pushed(self, ring: _Ring, time: int, reading: np.float32, missed: int) -> _Ring:
        import numpy as np

        held, missing = ring.readings[-1], bool(np.isnan(reading))
        filled = ring.filled + missed + 1 if missing else 0
        if filled > self._settings.fill:
            return _Ring(readings=self._empty().readings, time=time)
        new = np.full(missed + 1, held, dtype=np.float32)
        if not missing:
            new[-1] = reading
        readings = np.concatenate([ring.readings, new])[-self._settings.size :]
        return _Ring(readings=readings, time=time, filled=filled)


def _said(seconds: int) -> str:
    import numpy as np

    return f"{np.datetime64(seconds, 's')}"
