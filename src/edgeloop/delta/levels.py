"""Whole numbers, such as the weights of an int8 tensor, with the scales that make them real ones.

A weight that did not move has another level when its scale has changed: the old real number, on the
new scale, says which, and how near it was to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.coder import signed
from edgeloop.delta.families import DIRECT, LEVELS

if TYPE_CHECKING:
    from edgeloop.delta.coder import Coder
    from edgeloop.delta.matrix import Part
    from edgeloop.types import Array


ONE, ZERO = np.ones((1, 1)), np.zeros((1, 1))


@dataclass(frozen=True, kw_only=True)
class Affine:
    """What levels stand for: ``level * scale + offset``.

    Both are ``float64[1, 1]``, ``[rows, 1]``, ``[1, columns]`` or ``[rows, columns]``.
    """

    scale: Array = field(default_factory=lambda: ONE)
    offset: Array = field(default_factory=lambda: ZERO)

    def rows(self, part: slice) -> Affine:
        """Those of some rows."""
        return Affine(scale=_lines(self.scale, part), offset=_lines(self.offset, part))


AS_THEY_ARE = Affine()


@dataclass(frozen=True, kw_only=True)
class Levels:
    """``old`` is ``int64[rows, columns]``; levels lie from ``least`` to ``most``."""

    old: Array
    old_means: Affine
    new_means: Affine
    least: int
    most: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.old.shape[0], self.old.shape[1]

    def rows(self, part: slice) -> Levels:
        """Those of some rows."""
        old, new = self.old_means.rows(part), self.new_means.rows(part)
        return replace(self, old=self.old[part], old_means=old, new_means=new)

    def change(self, new: Array) -> Array:
        """How far each number moved, in real numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            moved: Array = _real(new, self.new_means) - _real(self.old, self.old_means)
        return moved

    def rest(self, new: Array, part: Part) -> Array:
        """What prediction leaves to code."""
        if not part.predicted:
            return new
        steps: Array = (new - self._predicted(part)[0]) // part.stride
        return steps

    def stride(self, new: Array) -> int:
        """The largest step of which all that prediction leaves are multiples; 1 at least."""
        return max(1, int(np.gcd.reduce(new - self._near(0.0), axis=None)))

    def code(self, coder: Coder, part: Part, given: Array | None) -> Array:
        """Write or read the levels."""
        if not part.predicted:
            sizes = np.clip(part.sizes + DIRECT.one, 0, DIRECT.sizes - 1)
            return signed(coder, DIRECT, sizes, given)
        near, nearness = self._predicted(part)
        sizes = np.clip(part.sizes + LEVELS.one, 0, LEVELS.sizes - 1)
        contexts = sizes * LEVELS.variants + nearness
        steps = None if given is None else (given - near) // part.stride
        found: Array = near + part.stride * signed(coder, LEVELS, contexts, steps)
        return found

    def _predicted(self, part: Part) -> tuple[Array, Array]:
        """The nearest level, and in which part of the way between two levels the number was."""
        real = self._on_new_scale(part.change)
        near = np.rint(real)
        nearness = np.clip(np.floor((real - near + 0.5) * LEVELS.variants), 0, LEVELS.variants - 1)
        return near.astype(np.int64), nearness.astype(np.int64)

    def _near(self, change: float) -> Array:
        near: Array = np.rint(self._on_new_scale(change)).astype(np.int64)
        return near

    def _on_new_scale(self, change: Array | float) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            real = _real(self.old, self.old_means) + change
            real = np.nan_to_num((real - self.new_means.offset) / self.new_means.scale)
        return np.clip(real, self.least, self.most)


def _real(levels: Array, means: Affine) -> Array:
    real: Array = levels * means.scale + means.offset
    return real


def _lines(numbers: Array, part: slice) -> Array:
    """One line is for all."""
    return numbers if len(numbers) == 1 else numbers[part]
