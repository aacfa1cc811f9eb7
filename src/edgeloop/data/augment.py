"""Change images as a camera could: turned, shifted, brighter or darker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from edgeloop.types import Array, Arrays


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Augmentation:
    """How far a drawn image may differ from the real one; each draw is uniform in its range.

    ``shift`` in pixels each way, ``turn`` in degrees each way, ``contrast`` a gain of 1 ± this,
    ``brightness`` an offset of 0 to this share of full scale. Zero switches one off.
    """

    shift: Annotated[float, Field(ge=0, le=64)] = 2.0
    turn: Annotated[float, Field(ge=0, le=180)] = 10.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def draw(self, images: Array, generator: np.random.Generator) -> Array:
        """``images`` (uint8[n, h, w] or uint8[n, h, w, c]), each changed by its own draw."""
        rows = len(images)
        return changed(
            images,
            turn=generator.uniform(-self.turn, self.turn, rows),
            right=generator.uniform(-self.shift, self.shift, rows),
            down=generator.uniform(-self.shift, self.shift, rows),
            gain=generator.uniform(1 - self.contrast, 1 + self.contrast, rows),
            offset=generator.uniform(0, self.brightness, rows) * 255,
        )

    def draw_inputs(self, rows: Arrays, generator: np.random.Generator) -> dict[str, Array]:
        """``rows`` by input name, with each input that is images changed by :meth:`draw`.

        Raises:
            DataError: none is.
        """
        images = [name for name, v in rows.items() if v.dtype == "uint8" and v.ndim in {3, 4}]
        if not images:
            raise DataError("augment", "must have images as input", got=", ".join(sorted(rows)))
        return {**rows, **{name: self.draw(rows[name], generator) for name in images}}


def changed(
    images: Array,
    *,
    turn: Array | float = 0.0,
    right: Array | float = 0.0,
    down: Array | float = 0.0,
    gain: Array | float = 1.0,
    offset: Array | float = 0.0,
) -> Array:
    """``images`` (uint8[n, h, w] or uint8[n, h, w, c]) moved, then ``gain`` x pixel + ``offset``.

    ``turn`` in degrees against the clock about the centre, ``right`` and ``down`` in pixels,
    ``offset`` in grey levels; each one number for all images or one per image. Bilinear; what
    comes in from outside repeats the border; the result is rounded and clipped to 0..255.
    """
    import numpy as np

    moved = _sampled(images, *_origins(images.shape[:3], turn, right, down))
    per_image = (-1,) + (1,) * (images.ndim - 1)
    lit = moved * _column(gain, per_image) + _column(offset, per_image)
    clipped: Array = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return clipped


def _column(value: Array | float, shape: tuple[int, ...]) -> Array:
    import numpy as np

    return np.asarray(value, dtype=np.float32).reshape(shape)


def _origins(
    shape: tuple[int, ...], turn: Array | float, right: Array | float, down: Array | float
) -> tuple[Array, Array]:
    """Where each pixel comes from: rows and columns, float32[n, h, w]."""
    import numpy as np

    _, height, width = shape
    angle = np.deg2rad(_column(turn, (-1, 1, 1)))
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2)[None, :, None]
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2)[None, None, :]
    y, x = y - _column(down, (-1, 1, 1)), x - _column(right, (-1, 1, 1))
    rows = np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2
    columns = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
    return (
        np.broadcast_to(np.clip(rows, 0, height - 1), shape).astype(np.float32),
        np.broadcast_to(np.clip(columns, 0, width - 1), shape).astype(np.float32),
    )


def _sampled(images: Array, rows: Array, columns: Array) -> Array:
    """``images`` read at fractional places by bilinear interpolation: float32, same shape."""
    import numpy as np

    count, height, width = images.shape[:3]
    shape = (count, height, width) + (1,) * (images.ndim - 3)
    pixels = images.reshape(count * height * width, -1).astype(np.float32)
    top, left = rows.astype(np.int32), columns.astype(np.int32)  # never negative: floor
    below = np.where(top < height - 1, width, 0).astype(np.int32)
    beside = (left < width - 1).astype(np.int32)
    first = np.arange(count, dtype=np.int32)[:, None, None] * (height * width)
    corner = first + top * width + left
    low, far = (rows - top).reshape(shape), (columns - left).reshape(shape)

    def at(index: Array) -> Array:
        taken: Array = pixels.take(index.reshape(-1), axis=0).reshape(images.shape)
        return taken

    upper, lower = at(corner), at(corner + below)
    upper += (at(corner + beside) - upper) * far
    lower += (at(corner + below + beside) - lower) * far
    lower -= upper
    mixed: Array = upper + lower * low
    return mixed
