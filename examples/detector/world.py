"""The world of the detector example: scenes that no snapshot holds, and a camera that goes dim.

When the world has changed, 60 % of the light is gone, and the camera turns its gain up so far that
every pixel is noisy. What is to be seen is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.data.augment_boxes import dimmed
from edgeloop.data.sets.digits_on_photographs import load
from edgeloop.plugins import Context

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

LEARNED = 0.8  # the share of the scenes that the loop takes
LIGHT, NOISE = 0.4, 12.0  # share that is left; deviation in grey levels


def rows(*, changed: bool) -> tuple[dict[str, Array], Array]:
    """Inputs by name, and the true boxes float32[n, 6, 5] of each image."""
    with TemporaryDirectory() as scratch:
        rest = load(Context(scratch=Path(scratch)), share=LEARNED, rest=True)
        images, boxes = rest.column("image"), rest.column("boxes")
    if changed:
        images = dimmed(images, gain=LIGHT, noise=NOISE, generator=np.random.default_rng(0))
    return {"image": images}, boxes


if __name__ == "__main__":
    sys.exit("world.py is used by the program that plays the devices")
