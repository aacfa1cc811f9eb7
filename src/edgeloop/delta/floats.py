"""Floating-point numbers as whole ones that keep their order, told in steps of the last bit.

How far a weight moves does not depend on its size, but the step of its last bit does: the exponent
of the predicted number turns the expected movement into expected steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.coder import unsigned
from edgeloop.delta.families import TOPS, ULPS

if TYPE_CHECKING:
    from edgeloop.delta.coder import Coder
    from edgeloop.delta.matrix import Part
    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True)
class Layout:
    """IEEE 754's fields, or bfloat16's."""

    name: str
    width: int  # bits in all
    mantissa: int  # bits

    @property
    def bias(self) -> int:
        """Of the exponent."""
        return (1 << (self.width - 2 - self.mantissa)) - 1

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return (1 << (self.width - 1)) - 1

    def values(self, patterns: Array) -> Array:
        """``float64`` of bit patterns ``int64``; what is not finite becomes 0."""
        narrow = patterns.astype(np.uint32)
        if self.name == "float16":
            values = narrow.astype(np.uint16).view(np.float16)
        elif self.name == "bfloat16":
            values = (narrow << np.uint32(16)).view(np.float32)
        else:
            values = narrow.view(np.float32)
        with np.errstate(invalid="ignore"):  # signalling ones that are no numbers
            wide = values.astype(np.float64)
        return np.where(np.isfinite(wide), wide, 0.0)

    def patterns(self, values: Array) -> Array:
        """Bit patterns of the nearest numbers; ties go to the even one."""
        with np.errstate(over="ignore"):
            if self.name == "float16":
                return values.astype(np.float16).view(np.uint16).astype(np.int64)
            wide = values.astype(np.float32).view(np.uint32).astype(np.int64)
        if self.name == "float32":
            return wide
        return (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16

    def ordered(self, patterns: Array) -> Array:
        """A whole number for each, in the order of the numbers; -0 is next below 0."""
        sizes = patterns & self.magnitude
        return np.where(patterns > self.magnitude, -1 - sizes, sizes)

    def from_ordered(self, numbers: Array) -> Array:
        """The inverse of :meth:`ordered`."""
        return np.where(numbers < 0, (-1 - numbers) | (self.magnitude + 1), numbers)


FLOAT32 = Layout(name="float32", width=32, mantissa=23)
FLOAT16 = Layout(name="float16", width=16, mantissa=10)
BFLOAT16 = Layout(name="bfloat16", width=16, mantissa=7)
LAYOUTS = (FLOAT32, FLOAT16, BFLOAT16)


@dataclass(frozen=True, kw_only=True)
class Floats:
    """``old`` is ``int64[rows, columns]`` of bit patterns."""

    old: Array
    layout: Layout

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.old.shape[0], self.old.shape[1]

    def rows(self, part: slice) -> Floats:
        """Those of some rows."""
        return Floats(old=self.old[part], layout=self.layout)

    def change(self, new: Array) -> Array:
        """How far each number moved."""
        return self.layout.values(new) - self.layout.values(self.old)

    def rest(self, new: Array, part: Part) -> Array:
        """What prediction leaves to code, as real numbers."""
        values = self.layout.values(new)
        return values - self.layout.values(self._near(part)) if part.predicted else values

    def stride(self, new: Array) -> int:  # noqa: ARG002  (levels alone have one)
        """One."""
        return 1

    def code(self, coder: Coder, part: Part, given: Array | None) -> Array:
        """Write or read the bit patterns."""
        return (self._by_steps if part.predicted else self._by_itself)(coder, part, given)

    def _by_steps(self, coder: Coder, part: Part, given: Array | None) -> Array:
        layout, near = self.layout, self._near(part)
        exponents = np.maximum((near & layout.magnitude) >> layout.mantissa, 1)
        sizes = part.sizes - 2 * (exponents - layout.bias - layout.mantissa)
        sizes = np.clip(sizes + ULPS.one, 0, ULPS.sizes - 1)
        start = layout.ordered(near)
        steps = None if given is None else layout.ordered(given) - start
        ordered = start + unsigned(coder, ULPS, sizes, steps)
        lowest, highest = -layout.magnitude - 1, layout.magnitude
        return layout.from_ordered(np.clip(ordered, lowest, highest))

    def _by_itself(self, coder: Coder, part: Part, given: Array | None) -> Array:
        """Exponent and two bits of mantissa, as seen from the expected size; the rest plain."""
        layout = self.layout
        low = layout.mantissa - 2
        highest = layout.magnitude >> low
        middle = np.clip(2 * part.sizes + 4 * layout.bias, 0, highest)  # quarters of an octave
        top = sign = rest = None
        if given is not None:
            sizes = given & layout.magnitude
            top, sign, rest = (
                _around(sizes >> low, middle),
                given >> (layout.width - 1),
                sizes & ((1 << low) - 1),
            )
        tops = _from_around(coder.symbols(TOPS, np.zeros_like(middle), top), middle)
        lows = coder.bits(np.full(middle.shape, low), rest)
        signs = coder.bits(np.ones_like(middle), sign)
        sizes = np.clip((tops << low) | lows, 0, layout.magnitude)
        found: Array = sizes | (signs << (layout.width - 1))
        return found

    def _near(self, part: Part) -> Array:
        """The predicted bit patterns."""
        old = self.old
        if isinstance(part.change, float):
            return old
        special = (old & self.layout.magnitude) >> self.layout.mantissa == 2 * self.layout.bias + 1
        moved = self.layout.patterns(self.layout.values(old) + part.change)
        return np.where(special, old, moved)


def _around(tops: Array, middle: Array) -> Array:
    """Distance from what is expected: 0 is the highest that is likely, then downwards ..."""
    return np.where(tops <= middle, 2 * (middle - tops), 2 * (tops - middle) - 1)


def _from_around(symbols: Array, middle: Array) -> Array:
    found: Array = np.where(symbols & 1, middle + (symbols + 1) // 2, middle - symbols // 2)
    return found
