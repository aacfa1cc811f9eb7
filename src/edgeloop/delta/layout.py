"""Where the tensors of a model file lie: what the build side finds in it, whatever its container.

Everything between them is bytes, and a delta carries places alone, so a container that is misread
costs bytes, never a wrong file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Float32 numbers in the same file that turn levels into real ones: (level - zero) * scale.

    ``axis`` is one of the tensor's shape, and ``count`` that dimension; None is one scale for all.
    ``zeros`` is the offset of as many zero points of the levels' own dtype; None says all are 0.
    """

    offset: int  # bytes from the file's beginning, of float32 numbers, little endian
    count: int
    axis: int | None
    zeros: int | None = None


@dataclass(frozen=True, kw_only=True)
class Span:
    """One tensor of a model file.

    ``form``: float32, float16, bfloat16, int8, uint8, int32, int64, or a block form of GGUF by its
    name there in small letters (q8_0, q4_0, q4_k, q6_k ...).
    ``shape`` counts numbers, slowest first.
    """

    name: str
    offset: int  # bytes from the file's beginning
    size: int  # bytes
    form: str
    shape: tuple[int, ...]
    scales: Scales | None = None


PIECES = {  # form -> numbers, and bytes, of the smallest piece of it that stands for itself
    "float32": (1, 4), "float16": (1, 2), "bfloat16": (1, 2),
    "int8": (1, 1), "uint8": (1, 1), "int32": (1, 4), "int64": (1, 8),
    "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34),
    "q8_1": (32, 40), "q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144),
    "q5_k": (256, 176), "q6_k": (256, 210), "q8_k": (256, 292), "iq1_s": (256, 50),
    "iq1_m": (256, 56), "iq2_xxs": (256, 66), "iq2_xs": (256, 74), "iq2_s": (256, 82),
    "iq3_xxs": (256, 98), "iq3_s": (256, 110), "iq4_nl": (32, 18), "iq4_xs": (256, 136),
    "tq1_0": (256, 54), "tq2_0": (256, 66), "mxfp4": (32, 17), "nvfp4": (64, 36),
    "q1_0": (128, 18),
}  # fmt: skip


def axis_of(shape: tuple[int, ...], count: int, *, first: int) -> int | None:
    """The axis of ``count`` lines: ``first`` if it has so many, or else the first that has.

    None: no axis has, or there is one line for all.
    """
    if count == 1:
        return None
    if -len(shape) <= first < len(shape) and shape[first] == count:
        return first % len(shape)
    return shape.index(count) if count in shape else None
