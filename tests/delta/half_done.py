"""An update of two files that takes several steps, and can be stopped at any of them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tests.delta.tiny_models import safetensors

from edgeloop.delta.apply import apply
from edgeloop.delta.create import create_bytes

TENSORS, SIDE = 7, 48
EVERY = SIDE * SIDE  # new bytes between two notes: each tensor


class StoppedError(Exception):
    """What stands for a process that ends."""


@cache
def made():
    """Old files, new files, and the delta."""
    chance = np.random.default_rng(5)
    old, new = {}, {}
    for number in range(TENSORS):
        levels = chance.integers(-90, 90, (SIDE, SIDE))
        moved = levels + chance.integers(-1, 2, levels.shape)
        for told, values in ((old, levels), (new, moved)):
            told[f"w{number}"] = ("int8", values.shape, values.astype(np.int8).tobytes())
    olds, news = [safetensors(old), b"a card"], [safetensors(new), b"another card"]
    delta = create_bytes(olds, news)
    assert delta.tensors == TENSORS
    return olds, news, delta.data


@dataclass(frozen=True)
class Update:
    """Its old files and the delta lie in ``source``, the new ones in ``folder``."""

    source: Path
    folder: Path

    @classmethod
    def begun(cls, source, folder):
        olds, _, delta = made()
        for name, data in zip(("a.old", "b.old", "delta"), (*olds, delta), strict=True):
            (source / name).write_bytes(data)
        return cls(source, folder)

    def apply(self, stop=None):
        """How many new bytes came; ``stop``: an error behind so many pieces of them."""
        came = []

        def count(size):
            came.append(size)
            if len(came) == stop:
                raise StoppedError

        old = [self.source / "a.old", self.source / "b.old"]
        apply(old, self.source / "delta", [self.folder / "a", self.folder / "b"], count)
        return sum(came)

    def whole(self):
        """Both new files are there as they should be, and nothing else."""
        return self.there() == dict(zip(("a", "b"), made()[1], strict=True))

    def there(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    @property
    def size(self):
        return sum(map(len, made()[1]))
