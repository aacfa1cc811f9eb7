"""Turn a float ONNX graph into int8, with ranges that are measured on training data."""

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
from edgeloop.passes.onnx_file import NAME, written
from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model, Snapshot

logger = logging.getLogger(__name__)

BATCH = 64
# Everything between raw input and the answer's last step, preprocessing too: processors that only
# have integers take a graph whole or not at all.
WHOLE = ("Conv", "Gemm", "MatMul", "Add", "Sub", "Relu", "ReduceMean", "GlobalAveragePool")


@register("pass", "quantize.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Quantize:
    """Weights int8 per channel, activations int8 per tensor, as QDQ nodes of ONNX Runtime.

    ``calibrate`` rows are drawn from the part ``train`` alone. With ``augment`` each row is also
    changed as a camera could change it, so that the ranges hold room for such a camera; None takes
    the rows as they are. ``method`` ``minmax`` covers every value that was seen; ``percentile``
    cuts the rarest values above ``percentile`` off, and a value beyond a range saturates.

    ``narrow`` keeps weights to 7 bits: processors without VNNI add int8 products in 16 bits, and
    8-bit weights can overflow there, so that the same file would answer differently.
    """

    scheme: Literal["static_int8"] = "static_int8"
    calibrate: Annotated[int, Field(ge=1)] = 256
    augment: Augmentation | None = None
    method: Literal["minmax", "percentile"] = "minmax"
    percentile: Annotated[float, Field(gt=90, le=100)] = 99.99
    narrow: bool = True

    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "numpy")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Model:
        """The int8 form of ``model``, with the same inputs and outputs.

        Raises:
            ModelError: ``model`` is not of format ``onnx``.
            DataError: the snapshot has no training rows, or ``augment`` is set without images.
        """
        if model.format != "onnx":
            raise ModelError(
                "quantize",
                "must be given an onnx model",
                got=model.format,
                todo="Place export_onnx before it",
            )
        started = time.monotonic()
        rows = self._rows(context.data(), context.seed)
        graph = self._quantized(model.files[NAME], rows)
        path = written(graph, context.scratch)
        logger.info(
            "pass.done name=quantize.v1 bytes_before=%d bytes_after=%d seconds=%.1f",
            model.files[NAME].stat().st_size,
            path.stat().st_size,
            time.monotonic() - started,
        )
        scheme = {"scheme": self.scheme, "calibrated_on": len(next(iter(rows.values())))}
        return replace(
            model, files={path.name: path}, notes={**model.notes, "quantization": scheme}
        )

    def _rows(self, snapshot: Snapshot, seed: int) -> dict[str, Array]:
        """The rows to calibrate on, by input name."""
        import numpy as np

        feed = snapshot.feed("train")
        count = len(next(iter(feed.values())))
        if not count:
            raise DataError(f"snapshot {snapshot.name}", "must have rows to train on", got="none")
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(count)[: self.calibrate])
        rows = {name: values[chosen] for name, values in feed.items()}
        if self.augment is None:
            return rows
        images = [name for name, v in rows.items() if v.dtype == np.uint8 and v.ndim in {3, 4}]
        if not images:
            raise DataError("quantize.augment", "must have images as input", got=sorted(rows))
        return rows | {name: self.augment.draw(rows[name], generator) for name in images}

    def _quantized(self, source: Path, rows: Arrays) -> Any:
        """The quantized ``onnx.ModelProto``."""
        import onnx
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        methods = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}
        with tempfile.TemporaryDirectory() as folder, _quiet():
            made = Path(folder) / NAME
            quantize_static(
                str(source),
                str(made),
                _Reader(rows),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(WHOLE),
                per_channel=True,
                reduce_range=self.narrow,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=methods[self.method],
                extra_options={"CalibPercentile": self.percentile},
            )
            return onnx.load(str(made))


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
