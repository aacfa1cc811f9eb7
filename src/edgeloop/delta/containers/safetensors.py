"""Find the tensors of a safetensors file: a JSON header, then the numbers.

The form: https://github.com/huggingface/safetensors#format. It has no word for scales; quantizers
name them after the tensor that they scale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from edgeloop.delta.containers.foreign import BrokenError, Foreign
from edgeloop.delta.layout import Scales, Span, axis_of

TYPES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I8": "int8",
    "U8": "uint8",
    "I32": "int32",
    "I64": "int64",
}
LEVELS = frozenset({"int8", "uint8"})
MOST_HEADER = 1 << 24  # bytes; JSON takes many times of it in memory
START = 8  # bytes of the header's length


def spans(data: memoryview) -> list[Span]:
    """The tensors, as the header tells them.

    Raises:
        BrokenError: it is no such file.
    """
    foreign = Foreign(data)
    length = foreign.number("Q", 0)
    if length > MOST_HEADER or foreign.take(START, 1) != b"{":
        raise BrokenError
    try:
        header = json.loads(foreign.take(START, length))
    except (ValueError, RecursionError) as fault:
        raise BrokenError from fault
    found = {one.name: one for one in _tensors(header, START + length)}
    return [replace(one, scales=_scales(one, found)) for one in found.values()]


def _tensors(header: Mapping[str, Any], start: int) -> Iterator[Span]:
    for name, told in header.items():
        if name == "__metadata__" or not isinstance(told, dict):
            continue
        kind = told.get("dtype")
        form = TYPES.get(kind) if isinstance(kind, str) else None
        shape, ends = _counts(told.get("shape")), _counts(told.get("data_offsets"))
        if form and shape is not None and ends is not None and len(ends) == 2:
            first, last = ends
            yield Span(name=name, offset=start + first, size=last - first, form=form, shape=shape)


def _counts(told: object) -> tuple[int, ...] | None:
    """A list of whole numbers, if it is one."""
    if not isinstance(told, list) or not all(type(one) is int for one in told):
        return None
    return tuple(told)


def _scales(span: Span, found: Mapping[str, Span]) -> Scales | None:
    """The scales that are named after a tensor of levels."""
    if span.form not in LEVELS:
        return None
    for name in _names(span.name):
        told = found.get(name)
        if told is not None and told.form == "float32":
            return _by_count(span, told)
    return None


def _names(name: str) -> Iterator[str]:
    """What the scales of ``name`` may be called."""
    yield from (f"{name}{end}" for end in ("_scale", ".scale", ".weight_scale"))
    if "weight" in name:
        yield from (name.replace("weight", other) for other in ("weight_scale", "scales"))


def _by_count(span: Span, told: Span) -> Scales | None:
    """One for all, or one for each line of an axis."""
    count = told.size // 4
    axis = axis_of(span.shape, count, first=0)
    if axis is None and count != 1:
        return None
    return Scales(offset=told.offset, count=count, axis=axis)
