"""Change images and their boxes as another camera could: moved, darker, noisier, other colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    import numpy as np

    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BoxAugmentation:
    """How far a drawn image may differ from the real one; each draw is uniform in its range.

    ``shift`` in whole pixels each way; what comes in from outside repeats the border, and a box
    that loses more than ``LOST`` of its area is gone. ``dark`` takes up to that share of the light
    away; ``noise`` is the largest deviation of a pixel, in grey levels. With ``colours`` an image
    may also be its negative, or have its channels in another order. Zero switches one off.
    """

    shift: Annotated[int, Field(ge=0, le=256)] = 10
    dark: Annotated[float, Field(ge=0, lt=1)] = 0.7
    noise: Annotated[float, Field(ge=0, le=64)] = 14.0
    colours: bool = True

    def draw(
        self, images: Array, boxes: Array, generator: np.random.Generator
    ) -> tuple[Array, Array]:
        """``images`` (uint8[n, h, w, 3]) and ``boxes`` (float32[n, most, 5]), each by its draw."""
        import numpy as np

        count = len(images)
        moves = generator.integers(-self.shift, self.shift, (count, 2), endpoint=True)
        images, boxes = moved(images, boxes, moves)
        if self.colours:
            images = np.stack([_recoloured(image, generator) for image in images])
        gain = generator.uniform(1 - self.dark, 1, count)
        noise = generator.uniform(0, self.noise, count)
        return dimmed(images, gain=gain, noise=noise, generator=generator), boxes


LOST = 0.4  # of a box's area, beyond the image's edge


def moved(images: Array, boxes: Array, moves: Array) -> tuple[Array, Array]:
    """Each image, and its boxes, ``moves`` (int[n, 2]) pixels to the right and down."""
    import numpy as np

    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - moves[:, 1:], 0, height - 1)
    columns = np.clip(np.arange(width) - moves[:, :1], 0, width - 1)
    shifted = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    there = boxes.copy()
    edges = boxes[:, :, 1:] + np.tile(moves, 2)[:, None, :]
    there[:, :, 1:] = np.clip(edges, 0, [width, height, width, height])
    left = _area(there) / np.maximum(_area(boxes), 1e-6)
    there[(boxes[:, :, 0] < 0) | (left < 1 - LOST)] = -1
    return shifted, there


def dimmed(
    images: Array, *, gain: Array | float, noise: Array | float, generator: np.random.Generator
) -> Array:
    """``gain`` x pixel and normal noise of deviation ``noise``, rounded and clipped: uint8.

    Both one number for all images or one per image.
    """
    import numpy as np

    lit = images * _column(gain) + _column(noise) * generator.standard_normal(
        images.shape, dtype=np.float32
    )
    clipped: Array = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return clipped


def _recoloured(image: Array, generator: np.random.Generator) -> Array:
    """The image or its negative, with its channels in some order."""
    turned = 255 - image if generator.integers(2) else image
    mixed: Array = turned[:, :, generator.permutation(image.shape[2])]
    return mixed


def _area(boxes: Array) -> Array:
    area: Array = (boxes[:, :, 3:] - boxes[:, :, 1:3]).prod(axis=2)
    return area


def _column(value: Array | float) -> Array:
    import numpy as np

    return np.asarray(value, dtype=np.float32).reshape(-1, 1, 1, 1)
