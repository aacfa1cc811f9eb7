"""Turn a float ONNX graph into int8, with ranges that are measured on training data.

With ``toward`` the levels lie near those of the release that is out, so that the update is small.

What is quantized are the operations with weights, and what comes before them. Not what comes behind
the last of them, nor what goes past them to the answer: an answer is made there (boxes from maps, a
forecast from units), in numbers of which int8 has too few; and there are no weights to save.
"""

from __future__ import annotations

import io
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.data.augment import Augmentation
from edgeloop.errors import DataError, ModelError
from edgeloop.passes import near_release
from edgeloop.passes.onnx_file import NAME, written
from edgeloop.passes.within_bytes import within
from edgeloop.plugins import register
from edgeloop.quantities import AtMost
from edgeloop.runtimes.program import constants, files, memory, prepared, rows_at

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model, Snapshot

logger = logging.getLogger(__name__)

BATCH = 64
WEIGHED = ("Conv", "Gemm", "MatMul")
# Before them everything, preprocessing too: processors that only have integers take what leads from
# raw input to the last weights whole or not at all.
WHOLE = (*WEIGHED, "Add", "Sub", "Relu", "ReduceMean", "GlobalAveragePool")


@register("pass", "quantize.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Quantize:
    """Weights int8 per channel, activations int8 per tensor, as QDQ nodes of ONNX Runtime.

    ``calibrate`` rows are drawn from the part ``train`` alone, and go through the model's program;
    one that is NaN behind it (no answer yet) is left out. With ``augment`` each row is also changed
    as a camera could change it, so that the ranges hold room for such a camera; None takes the rows
    as they are. ``method`` ``minmax`` covers every value that was seen; ``percentile`` cuts the
    rarest values above ``percentile`` off, and a value beyond a range saturates.

    ``narrow`` keeps weights to 7 bits: processors without VNNI add int8 products in 16 bits, and
    8-bit weights can overflow there, so that the same file would answer differently.

    ``toward`` ``current``, the release that is out on the channel: scales of weights and ranges of
    activations stay as they are there where they still fit, and a weight moves to another level
    where that is worth the bits that it costs in a delta. ``rate`` is what a bit is worth: the
    share of the energy of a channel's answer that saving one may cost; 0 rounds every weight. With
    ``update_bytes`` the least rate is taken whose delta is not larger, from ``rate`` upwards. The
    first release on a channel is quantized as without ``toward``.
    """

    scheme: Literal["static_int8"] = "static_int8"
    calibrate: Annotated[int, Field(ge=1)] = 256
    augment: Augmentation | None = None
    method: Literal["minmax", "percentile"] = "minmax"
    percentile: Annotated[float, Field(gt=90, le=100)] = 99.99
    narrow: bool = True
    toward: Literal["current"] | None = None
    rate: Annotated[float, Field(ge=0, le=1)] = 1e-5
    update_bytes: Annotated[AtMost, Field(gt=0)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "numpy", "bsdiff4")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)
    needs_by_field: ClassVar[dict[str, tuple[str, ...]]] = {"toward": ("current",)}

    def run(self, model: Model, context: Context) -> Model:
        """The int8 form of ``model``, with the same inputs and outputs.

        Raises:
            ModelError: ``model`` is not of format ``onnx``, has tensors beside its graph, or no
                weights that could be int8.
            DataError: the snapshot has no training rows, or none that ``augment`` can change.
        """
        _check(model)
        started = time.monotonic()
        rows = self._rows(model, context.data(), context.seed)
        release = _released(context.current) if self.toward else None
        near: dict[str, Any] = {}
        if release is None:
            path = written(self._quantized(model.files[NAME], rows), context.scratch)
        else:
            path, near = self._near(model.files[NAME], rows, release, context.scratch)
        logger.info(
            "pass.done name=quantize.v1 bytes_before=%d bytes_after=%d seconds=%.1f",
            model.files[NAME].stat().st_size,
            path.stat().st_size,
            time.monotonic() - started,
        )
        count = len(next(iter(rows.values())))
        scheme = {"scheme": self.scheme, "calibrated_on": count, **near}
        return replace(
            model,
            files={**files(model), path.name: path},
            notes={**model.notes, "quantization": scheme},
        )

    def _rows(self, model: Model, snapshot: Snapshot, seed: int) -> dict[str, Array]:
        """What the graph gets of the rows to calibrate on, by input name."""
        import numpy as np

        feed = snapshot.feed("train")
        count = len(next(iter(feed.values())))
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(count)[: self.calibrate])
        remembers = bool(memory(model))  # then rows mean something only behind each other
        rows = feed if remembers else rows_at(feed, chosen)
        if self.augment is not None:
            rows = self.augment.draw_inputs(rows, generator)
        rows = prepared(model, rows)
        rows = _whole(rows_at(rows, chosen) if remembers else rows)
        if not len(next(iter(rows.values()))):
            raise DataError(
                f"snapshot {snapshot.name}",
                "must have rows to calibrate on that the program answers",
                got="none",
            )
        return rows

    def _near(
        self, source: Path, rows: Arrays, release: Path, scratch: Path
    ) -> tuple[Path, dict[str, Any]]:
        """The graph in int8 near ``release``, in ``scratch``, and what it took."""

        def made(rate: float) -> Path:
            return written(self._near_at(source, rows, release, rate), scratch)

        if self.update_bytes is None:
            return made(self.rate), {"toward": self.toward, "rate": self.rate}
        found = within(self.update_bytes, self.rate, lambda rate: _delta(release, made(rate)))
        if found.bytes > self.update_bytes:
            logger.warning("quantize.large bytes=%d wanted=%d", found.bytes, self.update_bytes)
        near = {"toward": self.toward, "rate": found.rate, "update_bytes": found.bytes}
        return made(found.rate), near

    def _near_at(self, source: Path, rows: Arrays, release: Path, rate: float) -> Any:
        """Weights moved onto levels near the old ones, then quantized with the ranges that fit."""
        import onnx

        model = onnx.load(str(source))
        found = near_release.weights(model.graph, release)
        most = 64 if self.narrow else 127
        told = near_release.moved(model, found, rows, rate=rate, most=most)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"near-{NAME}"
            onnx.save(model, str(path))
            measured = self._quantized(path, rows, told)
            kept = near_release.ranges(measured, release)
            return self._quantized(path, rows, {**told, **kept}) if kept else measured

    def _quantized(
        self, source: Path, rows: Arrays, told: near_release.Overrides | None = None
    ) -> Any:
        """The quantized ``onnx.ModelProto``; what is ``told`` of a tensor is not measured."""
        import onnx
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        methods = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}
        with tempfile.TemporaryDirectory() as folder, _quiet():
            named, made = Path(folder) / f"named-{NAME}", Path(folder) / NAME
            inside = _inside(_named(source, named))
            quantize_static(
                str(named),
                str(made),
                _Reader(rows),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(WHOLE),
                nodes_to_quantize=inside,
                per_channel=True,
                reduce_range=self.narrow,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=methods[self.method],
                extra_options={
                    "CalibPercentile": self.percentile,
                    "TensorQuantOverrides": told or {},
                },
            )
            return onnx.load(str(made))


def _released(current: Model | None) -> Path | None:
    """The graph of the release that is out; None where there is none, or none in ONNX."""
    return None if current is None or current.format != "onnx" else current.files[NAME]


def _delta(old: Path, new: Path) -> int:
    """Bytes that turn one file into the other."""
    from edgeloop.delta.create import create_bytes

    return len(create_bytes([old.read_bytes()], [new.read_bytes()]).data)


def _check(model: Model) -> None:
    """Raise ModelError unless the model is a graph that holds all its tensors."""
    if model.format != "onnx":
        raise ModelError(
            "quantize",
            "must be given an onnx model",
            got=model.format,
            todo="Place export_onnx before it",
        )
    beside = sorted(constants(model))
    if beside:
        raise ModelError(
            "quantize",
            "must be given a graph that holds all its tensors",
            got=f"{len(beside)} beside it, as {beside[0]}",
            todo="Ranges follow them, so that an update of them alone would no longer fit",
        )


def _whole(rows: Arrays) -> dict[str, Array]:
    """The rows without a gap: NaN has no place in a range."""
    import numpy as np

    count = len(next(iter(rows.values())))
    gaps = np.zeros(count, dtype=bool)
    for values in rows.values():
        if values.dtype.kind == "f":
            gaps |= np.isnan(values).reshape(count, -1).any(axis=1)
    return rows_at(rows, ~gaps)


def _named(source: Path, target: Path) -> Any:
    """The graph of ``source``, each node with a name of its own, as ONNX Runtime calls them."""
    import onnx

    model = onnx.load(str(source))
    seen: set[str] = {""}
    for number, node in enumerate(model.graph.node):
        if node.name in seen:
            node.name = f"{node.op_type}-{number}"
        seen.add(node.name)
    onnx.save(model, str(target))
    return model.graph


def _inside(graph: Any) -> list[str]:
    """The nodes from which every way to an output leads through weights, and those with weights.

    Raises:
        ModelError: no node has weights.
    """
    past = {output.name for output in graph.output}  # tensors with a way around all weights
    inside: list[str] = []
    for node in reversed(graph.node):
        if node.op_type in WEIGHED or past.isdisjoint(node.output):
            inside.append(node.name)
        else:
            past.update(node.input)
    kinds = sorted({node.op_type for node in graph.node})
    if not set(WEIGHED) & set(kinds):
        raise ModelError(
            "quantize",
            f"must be given a graph with {', '.join(WEIGHED[:-1])} or {WEIGHED[-1]}",
            got=", ".join(kinds),
            todo="There are no weights that int8 makes smaller: leave it out",
        )
    return inside


class _Reader:
    """Gives the calibrator rows in batches."""

    def __init__(self, rows: Arrays) -> None:
        count = len(next(iter(rows.values())))
        self._batches = iter(
            {name: values[start : start + BATCH] for name, values in rows.items()}
            for start in range(0, count, BATCH)
        )

    def get_next(self) -> dict[str, Array] | None:
        """The next batch, or None."""
        return next(self._batches, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """The calibrator's prints and its advice to preprocess off: the exporter has folded all."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):  # stdout is for results
            yield
    finally:
        logging.disable(before)
