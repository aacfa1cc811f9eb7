"""The world of the demo: digits that cameras see, and a camera that becomes brighter and turned.

The loop takes ``LEARNED`` of the 5,000 images; the rest are the world, never in a snapshot until
devices send them home. The world has two days: what is seen until release 3 is out, and other
images after that, so that no device is ever judged on an image that it sent home.
"""

import sys
from pathlib import Path

import numpy as np

from edgeloop.data.augment import changed

CAMERA = {"turn": -25.0, "gain": 1.2, "offset": 85.0}  # degrees; grey levels are gain * g + offset
BRIGHTER, SECOND_DAY = "south-cameras-changed", "second-day"  # files that say so
ANSWERS_PER_SECOND = 20.0


def write_world(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Two days of images uint8[n, 28, 28] with labels, alternating rows."""
    days = {f"images-{day}": images[day::2] for day in (0, 1)}
    days |= {f"labels-{day}": labels[day::2] for day in (0, 1)}
    np.savez(path.with_suffix(".new.npz"), **days)
    path.with_suffix(".new.npz").replace(path)


class Camera:
    """Draws images at random; ``site`` decides whether it is one of those that change."""

    def __init__(self, world: Path, site: str, seed: int) -> None:
        with np.load(world, allow_pickle=False) as arrays:
            self._days = [(arrays[f"images-{d}"], arrays[f"labels-{d}"]) for d in (0, 1)]
        self._folder, self._site = world.parent, site
        self._generator = np.random.default_rng(seed)

    def look(self) -> tuple[np.ndarray, int]:
        """One image uint8[28, 28] as this camera sees it now, and the digit that it really is."""
        images, labels = self._days[int((self._folder / SECOND_DAY).exists())]
        row = int(self._generator.integers(len(labels)))
        image = images[row]
        if self._site == "south" and (self._folder / BRIGHTER).exists():
            image = changed(image[None], **CAMERA)[0]
        return image, int(labels[row])


if __name__ == "__main__":
    sys.exit("world.py is used by demo.py and device.py")
