"""Frozen values that every room shares: artifacts, models, snapshots, findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from edgeloop import arrayfiles

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]
    Arrays: TypeAlias = Mapping[str, Array]

Json: TypeAlias = Any  # what json.loads gives; checked by pydantic where it enters


class Verdict(StrEnum):
    """What a check says. A gate opens on ``PASS`` only."""

    PASS = "pass"  # noqa: S105  (a verdict, not a secret)
    FAIL = "fail"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a graph. ``shape`` is without the batch axis, e.g. ``(28, 28)``.

    Texts (dtype ``str``) are numpy object arrays of Python ``str``; one that is missing is ``""``.
    """

    name: str
    dtype: str  # numpy's name: "uint8", "float32", "int64"; or "str"
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AnswerSpec:
    """Which answer kind a model gives, and that kind's parameters."""

    kind: str
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """How an artifact was made: everything its step's key covers."""

    plugin: str  # "pass/quantize.v1"
    key: str  # sha256 hex of all below and the parents
    source: str  # sha256 hex of the plugin's source and what of ours it imports
    params: Mapping[str, Json] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    machine: str = ""  # "" unless the result depends on the machine


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One named file of an artifact, by digest."""

    name: str
    digest: str  # "sha256:<hex>"
    size: int  # bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Anything the loop made: immutable, named by its manifest's digest."""

    digest: str
    kind: str  # "snapshot", "model", "finding", "bundle", "run", "study"
    meta: Mapping[str, Json]
    layers: tuple[Layer, ...]
    parents: tuple[str, ...]
    made_by: MadeBy
    files: Mapping[str, Path] = field(repr=False)  # layer name -> blob on this disk


class Keepable(Protocol):
    """What a store can keep: a kind, a JSON description and named files."""

    @property
    def kind(self) -> str: ...
    @property
    def files(self) -> Mapping[str, Path]: ...
    def to_meta(self) -> Json: ...


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model at one point of the loop; a pass returns a new one and leaves this untouched.

    ``format`` says what ``files`` are: ``"torch"`` (``weights.safetensors``, rebuilt by ``recipe``)
    or a form that a runtime loads, e.g. ``"onnx"`` (``model.onnx``, raw inputs to answer).
    ``inputs`` are what an application gives. ``program`` declares the steps that lie between them
    and the answer, ``{"step": name, ...}`` each; empty means the graph alone.
    """

    format: str
    answer: AnswerSpec
    inputs: tuple[TensorSpec, ...]
    files: Mapping[str, Path]
    recipe: str = ""  # registry name of the recipe that can rebuild a "torch" model
    notes: Mapping[str, Json] = field(default_factory=dict)  # curves, architecture, scheme ...
    program: tuple[Mapping[str, Json], ...] = ()
    kind: str = "model"

    def to_meta(self) -> Json:
        """The JSON half; the other half is ``files``."""
        return {
            "format": self.format,
            "answer": {"kind": self.answer.kind, "params": dict(self.answer.params)},
            "inputs": [
                {"name": i.name, "dtype": i.dtype, "shape": list(i.shape)} for i in self.inputs
            ],
            "recipe": self.recipe,
            "notes": dict(self.notes),
            "program": [dict(one) for one in self.program],
        }

    @classmethod
    def from_meta(cls, meta: Json, files: Mapping[str, Path]) -> Model:
        """The inverse of :meth:`to_meta`."""
        return cls(
            format=meta["format"],
            answer=AnswerSpec(**meta["answer"]),
            inputs=tuple(
                TensorSpec(name=i["name"], dtype=i["dtype"], shape=tuple(i["shape"]))
                for i in meta["inputs"]
            ),
            files=files,
            recipe=meta["recipe"],
            notes=meta["notes"],
            program=tuple(meta["program"]),
        )


PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Rows of data by column, in shards, with what is known of them.

    Files are ``<column>-<nnnnn>.npy`` (first axis: rows; a JSON list in ``.json`` where the column
    holds texts) and, once split, ``split-00000.npy`` (uint8, index into :data:`PARTS`).
    ``profiles`` names the populations that rows come from (``clean``, ``field:south``); with more
    than one, the column ``profile`` (uint8) indexes it.
    """

    name: str
    rows: int
    columns: tuple[TensorSpec, ...]  # shape is per row
    inputs: tuple[str, ...]  # names of the columns that a model takes
    target: str
    answer: AnswerSpec
    files: Mapping[str, Path]
    profiles: tuple[str, ...] = ("clean",)
    statistics: Mapping[str, Json] = field(default_factory=dict)
    provenance: Mapping[str, Json] = field(default_factory=dict)
    kind: str = "snapshot"

    def column(self, name: str, part: str | None = None) -> Array:
        """One column, ``dtype[rows, *shape]``; of one part (``"train"`` ...) when named."""
        import numpy as np

        names = sorted(n for n in self.files if n.rsplit("-", 1)[0] == name)
        if name == "profile" and not names:
            values = np.zeros(self.rows, dtype=np.uint8)
        else:
            values = np.concatenate([arrayfiles.load(self.files[name]) for name in names])
        if part is None:
            return values
        chosen: Array = values[self.column("split") == PARTS.index(part)]
        return chosen

    def feed(self, part: str | None = None) -> dict[str, Array]:
        """The model's inputs by name."""
        return {name: self.column(name, part) for name in self.inputs}

    def input_specs(self) -> tuple[TensorSpec, ...]:
        """The specification of each input, in order."""
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in self.inputs)

    def to_meta(self) -> Json:
        """The JSON half; the other half is ``files``."""
        return {
            "name": self.name,
            "rows": self.rows,
            "columns": [
                {"name": c.name, "dtype": c.dtype, "shape": list(c.shape)} for c in self.columns
            ],
            "inputs": list(self.inputs),
            "target": self.target,
            "answer": {"kind": self.answer.kind, "params": dict(self.answer.params)},
            "profiles": list(self.profiles),
            "statistics": dict(self.statistics),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_meta(cls, meta: Json, files: Mapping[str, Path]) -> Snapshot:
        """The inverse of :meth:`to_meta`."""
        return cls(
            **{
                **meta,
                "columns": tuple(
                    TensorSpec(name=c["name"], dtype=c["dtype"], shape=tuple(c["shape"]))
                    for c in meta["columns"]
                ),
                "inputs": tuple(meta["inputs"]),
                "answer": AnswerSpec(**meta["answer"]),
                "profiles": tuple(meta["profiles"]),
            },
            files=files,
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found. ``value`` is None when it was not measured."""

    check: str
    verdict: Verdict
    value: float | None = None
    unit: str = ""  # "", "ms", "bytes", "points"
    limit: str = ""  # as a person would write it: ">= 0.96"
    interval: tuple[float, float] | None = None  # 95 % confidence
    reason: str = ""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    variant: str = ""  # of which variant of the loop; "" is the main pipeline
    kind: str = "finding"

    @property
    def title(self) -> str:
        """The check, with the variant that it is about: ``int8: accuracy``."""
        return f"{self.variant}: {self.check}" if self.variant else self.check

    @property
    def files(self) -> Mapping[str, Path]:
        """A finding is all JSON."""
        return {}

    def to_meta(self) -> Json:
        """The whole finding as JSON."""
        return {
            "check": self.check,
            "verdict": str(self.verdict),
            "value": self.value,
            "unit": self.unit,
            "limit": self.limit,
            "interval": list(self.interval) if self.interval else None,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            **({"variant": self.variant} if self.variant else {}),
        }

    @classmethod
    def from_meta(cls, meta: Json) -> Finding:
        """The inverse of :meth:`to_meta`."""
        interval = meta["interval"]
        return cls(
            **{
                **meta,
                "verdict": Verdict(meta["verdict"]),
                "interval": tuple(interval) if interval else None,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a session may use."""

    threads: int = 1
    memory_mb: int | None = None
    accelerator: str = ""  # a name of agent.device.accelerators; "" is the processor


class Session(Protocol):
    """A loaded model. ``run`` takes and gives arrays whose first axis is the batch.

    ``fresh`` is the same loaded model without memory of earlier rows: itself where it has none.
    """

    def run(self, inputs: Arrays) -> dict[str, Array]: ...
    def fresh(self) -> Session: ...


class Pieces(Protocol):
    """The answer to one row as it comes: what ``stream`` of a session gives where it has one.

    ``close`` stops the model. ``answers`` is what was given so far, as ``run`` gives it whole.
    """

    def __iter__(self) -> Pieces: ...
    def __next__(self) -> str: ...
    def close(self) -> None: ...
    def answers(self) -> dict[str, Array]: ...


Progress: TypeAlias = Callable[[str, int, int], None]  # (what, done, total)


def silent(what: str, done: int, total: int) -> None:
    """A progress that tells nobody."""
