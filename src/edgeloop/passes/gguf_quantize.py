"""Write a GGUF file's matrices in another number format: smaller, or nearer to what they were."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes.gguf_header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Model

logger = logging.getLogger(__name__)

NAME = "model.gguf"


@register("pass", "gguf_quantize.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GgufQuantize:
    """Matrices whose names match one of ``tensors`` (``blk.*.ffn_*``) in ggml's format ``to``.

    Vectors stay as they are, and so do matrices whose rows do not fill the format's blocks.
    What comes quantized is taken to float first: no weight gets more exact than it was.
    """

    to: Literal["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"] = "Q8_0"
    tensors: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)

    libraries: ClassVar[tuple[str, ...]] = ("gguf", "numpy")
    needs: ClassVar[tuple[str, ...]] = ()

    def run(self, model: Model, context: Context) -> Model:
        """The model with the new file; template, program and answers stay.

        Raises:
            ModelError: ``model`` is not of format ``gguf``, is broken, or has no such tensors.
            MissingExtraError: gguf is not installed.
        """
        if model.format != "gguf":
            rule = "must be given a gguf model"
            raise ModelError("gguf_quantize", rule, got=model.format)
        started = time.monotonic()
        source, target = model.files[NAME], context.scratch / NAME
        read_header(source, NAME)
        changed = self._written(source, target)
        if not changed:
            raise ModelError(
                "gguf_quantize.tensors",
                "must match a matrix that the format fits",
                got=", ".join(self.tensors),
            )
        logger.info(
            "pass.done name=gguf_quantize.v1 bytes_before=%d bytes_after=%d seconds=%.1f",
            source.stat().st_size,
            target.stat().st_size,
            time.monotonic() - started,
        )
        scheme = {"scheme": self.to, "tensors": list(self.tensors), "changed": changed}
        return replace(
            model,
            files={**model.files, NAME: target},
            notes={**model.notes, "quantization": scheme},
        )

    def _written(self, source: Path, target: Path) -> int:
        """Write the file, and give how many tensors are in the new format."""
        gguf = _library()
        reader = gguf.GGUFReader(source)
        kind = gguf.GGMLQuantizationType[self.to]
        writer = gguf.GGUFWriter(target, arch=_text(reader, "general.architecture"))
        _copy_entries(gguf, reader, writer)
        chosen = [self._fits(gguf, tensor, kind) for tensor in reader.tensors]
        for tensor, change in zip(reader.tensors, chosen, strict=True):
            if change:
                values = _quantized(gguf, tensor, kind)
                writer.add_tensor(tensor.name, values, raw_dtype=kind)
            else:
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return sum(chosen)

    def _fits(self, gguf: Any, tensor: Any, kind: Any) -> bool:
        block, _ = gguf.GGML_QUANT_SIZES[kind]
        named = any(fnmatchcase(tensor.name, pattern) for pattern in self.tensors)
        return named and len(tensor.shape) > 1 and int(tensor.shape[0]) % int(block) == 0


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError(
            "gguf", "must be installed to write a GGUF file", todo="pip install 'edgeloop[llm]'"
        ) from error
    return gguf


def _quantized(gguf: Any, tensor: Any, kind: Any) -> Array:
    whole = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    values: Array = gguf.quants.quantize(whole, kind)
    return values


def _copy_entries(gguf: Any, reader: Any, writer: Any) -> None:
    """Every entry but those that the writer makes itself."""
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)


def _text(reader: Any, name: str) -> str:
    field = reader.get_field(name)
    return str(field.contents()) if field is not None else ""
