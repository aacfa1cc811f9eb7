"""How the numbers of a tensor lie in its bytes: block by block, field by field.

A plain tensor has blocks of one number. GGUF's have fields: scales, then levels that they scale.
Block forms: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.floats import BFLOAT16, FLOAT16, FLOAT32, Layout
from edgeloop.delta.levels import AS_THEY_ARE, Affine

if TYPE_CHECKING:
    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True)
class Field:
    """``count`` numbers in each block: bit patterns of a ``layout``, or levels."""

    count: int
    layout: Layout | None = None
    least: int = 0  # of levels
    most: int = 0


@dataclass(frozen=True, kw_only=True)
class Format:
    """``size`` bytes hold one block, whose fields are coded one after the other.

    ``unpack`` takes ``uint8[blocks, size]`` and gives ``int64[blocks, count]`` for each field;
    ``pack`` is its inverse for numbers that unpack gave. ``meaning`` says of the field at an index
    what its levels stand for, by the fields before it.
    """

    name: str
    size: int
    fields: tuple[Field, ...]
    unpack: Callable[[Array], list[Array]]
    pack: Callable[[Sequence[Array]], Array]
    meaning: Callable[[int, Sequence[Array]], Affine] = lambda _index, _before: AS_THEY_ARE

    @property
    def numbers(self) -> int:
        """In a block, of all fields."""
        return sum(field.count for field in self.fields)


def _plain(name: str, dtype: str, field: Field) -> Format:
    kind = np.dtype(dtype)

    def unpack(raw: Array) -> list[Array]:
        return [np.ascontiguousarray(raw).view(kind).astype(np.int64)]

    def pack(fields: Sequence[Array]) -> Array:
        return fields[0].astype(kind).view(np.uint8)

    return Format(name=name, size=kind.itemsize, fields=(field,), unpack=unpack, pack=pack)


def _half(raw: Array, place: int) -> Array:
    """The bit patterns of a float16, ``int64[blocks, 1]``."""
    found: Array = np.ascontiguousarray(raw[:, place : place + 2]).view("<u2").astype(np.int64)
    return found


def _bytes(numbers: Array) -> Array:
    return numbers.astype("<u2").view(np.uint8)


def _nibbles(raw: Array) -> Array:
    """The lower halves of all bytes, then the upper ones, ``int64[blocks, 2 * bytes]``."""
    found: Array = np.concatenate([raw & 15, raw >> 4], axis=1).astype(np.int64)
    return found


def _halves(levels: Array) -> Array:
    """The inverse of :func:`_nibbles`."""
    low, high = np.split(levels.astype(np.uint8), 2, axis=1)
    return low | (high << 4)


def _real(patterns: Array, count: int) -> Array:
    """Each float16 for ``count`` numbers."""
    return np.repeat(FLOAT16.values(patterns), count, axis=1)


def _one_scale(name: str, size: int, levels: Field, *, zero: int, nibbles: bool) -> Format:
    """A float16, then levels: Q8_0 and Q4_0."""

    def unpack(raw: Array) -> list[Array]:
        rest = np.ascontiguousarray(raw[:, 2:])
        found = _nibbles(rest) if nibbles else rest.view(np.int8).astype(np.int64)
        return [_half(raw, 0), found]

    def pack(fields: Sequence[Array]) -> Array:
        rest = _halves(fields[1]) if nibbles else fields[1].astype(np.int8).view(np.uint8)
        return np.concatenate([_bytes(fields[0]), rest], axis=1)

    def meaning(index: int, before: Sequence[Array]) -> Affine:
        if index == 0:
            return AS_THEY_ARE
        scale = _real(before[0], levels.count)
        return Affine(scale=scale, offset=-zero * scale)

    fields = (Field(count=1, layout=FLOAT16), levels)
    return Format(name=name, size=size, fields=fields, unpack=unpack, pack=pack, meaning=meaning)


def _scale_and_least(name: str, size: int, levels: Field) -> Format:
    """A float16 scale, a float16 of what level 0 stands for, then nibbles: Q4_1."""

    def unpack(raw: Array) -> list[Array]:
        return [_half(raw, 0), _half(raw, 2), _nibbles(raw[:, 4:])]

    def pack(fields: Sequence[Array]) -> Array:
        return np.concatenate([_bytes(fields[0]), _bytes(fields[1]), _halves(fields[2])], axis=1)

    def meaning(index: int, before: Sequence[Array]) -> Affine:
        if index < 2:
            return AS_THEY_ARE
        return Affine(
            scale=_real(before[0], levels.count), offset=_real(before[1], levels.count)
        )  # fmt: skip

    half = Field(count=1, layout=FLOAT16)
    return Format(
        name=name, size=size, fields=(half, half, levels), unpack=unpack, pack=pack, meaning=meaning
    )


def _q4_k() -> Format:
    """256 numbers: two float16, eight scales and eight minima of 6 bits, then nibbles."""

    def unpack(raw: Array) -> list[Array]:
        scales, least = _six_bits(raw[:, 4:16].astype(np.int64))
        pairs = raw[:, 16:].reshape(-1, 4, 32)  # each byte: of one group, and of the next
        both = np.stack([pairs & 15, pairs >> 4], axis=2)
        return [_half(raw, 0), _half(raw, 2), scales, least, both.reshape(-1, 256).astype(np.int64)]

    def pack(fields: Sequence[Array]) -> Array:
        groups = fields[4].astype(np.uint8).reshape(-1, 4, 2, 32)
        levels = (groups[:, :, 0] | (groups[:, :, 1] << 4)).reshape(-1, 128)
        parts = [_bytes(fields[0]), _bytes(fields[1]), _six_bit_bytes(*fields[2:4]), levels]
        return np.concatenate(parts, axis=1)

    def meaning(index: int, before: Sequence[Array]) -> Affine:
        if index < 2:
            return AS_THEY_ARE
        if index < 4:
            return Affine(scale=_real(before[index - 2], 8))
        scale = np.repeat(_real(before[0], 8) * before[2], 32, axis=1)
        return Affine(scale=scale, offset=-np.repeat(_real(before[1], 8) * before[3], 32, axis=1))

    half, six = Field(count=1, layout=FLOAT16), Field(count=8, least=0, most=63)
    fields = (half, half, six, six, Field(count=256, least=0, most=15))
    return Format(name="q4_k", size=144, fields=fields, unpack=unpack, pack=pack, meaning=meaning)


def _six_bits(raw: Array) -> tuple[Array, Array]:
    """Scales and minima, ``int64[blocks, 8]`` each, of 12 bytes."""
    first, second, third = raw[:, :4], raw[:, 4:8], raw[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=1)
    least = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=1)
    return scales, least


def _six_bit_bytes(scales: Array, least: Array) -> Array:
    """The inverse of :func:`_six_bits`."""
    first = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
    second = least[:, :4] | (least[:, 4:] >> 4 << 6)
    third = (scales[:, 4:] & 15) | ((least[:, 4:] & 15) << 4)
    return np.concatenate([first, second, third], axis=1).astype(np.uint8)


def _q6_k() -> Format:
    """256 numbers of 6 bits in two halves, sixteen scales of 8 bits, one float16."""

    def unpack(raw: Array) -> list[Array]:
        low, high = raw[:, :128].reshape(-1, 2, 64), raw[:, 128:192].reshape(-1, 2, 1, 32)
        lows = np.stack([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
        highs = (high >> np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]) & 3
        levels = (lows | (highs << 4)).reshape(-1, 256).astype(np.int64)
        scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8).astype(np.int64)
        return [_half(raw, 208), scales, levels]

    def pack(fields: Sequence[Array]) -> Array:
        levels = fields[2].astype(np.uint8).reshape(-1, 2, 4, 32)
        lows = (levels & 15).reshape(-1, 2, 2, 64)
        low = (lows[:, :, 0] | (lows[:, :, 1] << 4)).reshape(-1, 128)
        shifted = (levels >> 4) << np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
        high = np.bitwise_or.reduce(shifted, axis=2).reshape(-1, 64)
        scales = fields[1].astype(np.int8).view(np.uint8)
        return np.concatenate([low, high, scales, _bytes(fields[0])], axis=1)

    def meaning(index: int, before: Sequence[Array]) -> Affine:
        if index == 0:
            return AS_THEY_ARE
        scale = _real(before[0], 16)
        if index == 1:
            return Affine(scale=scale)
        scale = np.repeat(scale * before[1], 16, axis=1)
        return Affine(scale=scale, offset=-32 * scale)

    fields = (
        Field(count=1, layout=FLOAT16),
        Field(count=16, least=-128, most=127),
        Field(count=256, least=0, most=63),
    )
    return Format(name="q6_k", size=210, fields=fields, unpack=unpack, pack=pack, meaning=meaning)


_BYTE = Field(count=32, least=-128, most=127)
_NIBBLE = Field(count=32, least=0, most=15)

# A format's number in a delta is its place here: append, never move.
FORMATS = (
    _plain("float32", "<u4", Field(count=1, layout=FLOAT32)),
    _plain("float16", "<u2", Field(count=1, layout=FLOAT16)),
    _plain("bfloat16", "<u2", Field(count=1, layout=BFLOAT16)),
    _plain("int8", "i1", Field(count=1, least=-128, most=127)),
    _plain("uint8", "u1", Field(count=1, least=0, most=255)),
    _plain("int32", "<i4", Field(count=1, least=-(1 << 31), most=(1 << 31) - 1)),
    _one_scale("q8_0", 34, _BYTE, zero=0, nibbles=False),
    _one_scale("q4_0", 18, _NIBBLE, zero=8, nibbles=True),
    _scale_and_least("q4_1", 20, _NIBBLE),
    _q4_k(),
    _q6_k(),
)
BY_NAME = {one.name: one for one in FORMATS}
