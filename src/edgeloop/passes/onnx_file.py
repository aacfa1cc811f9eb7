"""Write an ONNX graph so that its bytes depend on what it computes and on nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "model.onnx"


def written(graph: Any, folder: Path) -> Path:
    """``graph`` (``onnx.ModelProto``) as ``folder/model.onnx``, stripped. ``graph`` is changed."""
    path = folder / NAME
    path.write_bytes(strip(graph).SerializeToString(deterministic=True))
    return path


def strip(graph: Any) -> Any:
    """``graph`` without what exporters leave in it: paths, stack traces, versions, dates, texts."""
    for part in _parts(graph):
        for name in ("metadata_props", "doc_string"):
            if name in part.DESCRIPTOR.fields_by_name:
                part.ClearField(name)
    graph.ClearField("producer_version")
    graph.ClearField("domain")
    graph.ClearField("model_version")
    return graph


def _parts(message: Any) -> Iterator[Any]:
    """``message`` and every message inside it, depth first. Tensors' numbers are not walked."""
    yield message
    for field, content in message.ListFields():
        if field.message_type is None:
            continue
        repeated = not hasattr(content, "DESCRIPTOR")
        for one in content if repeated else (content,):
            yield from _parts(one)
