"""The world of the language model example: what people ask who read Shakespeare together.

The loop takes ``LEARNED`` of the speeches that the data set holds; people ask about the others.
Where the world has changed they paste a scene of four speeches and ask how it goes on: prompts are
three times as long, and an answer has several lines.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.data.origins import found
from edgeloop.data.sets.who_speaks import (
    EACH,
    FILE,
    INSTALL,
    NAME,
    QUESTION,
    Speech,
    chosen,
    speeches,
)

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

LEARNED = 0.3  # share of each speaker's speeches; data.source.share of loop.yaml
SCENE, SHORTEST, LONGEST = 4, 20, 60  # speeches of a pasted scene, characters of each
GO_ON = "\nGo on with the scene:"
SEED = 11


def rows(*, changed: bool) -> tuple[dict[str, Array], Array]:
    """Input ``prompt`` str[n], and the truth str[n]: the speaker, or what comes next in a play."""
    every = speeches(found(NAME, (FILE,), INSTALL)[FILE.name][1].decode())
    asked = _scenes(every) if changed else _speakers(every)
    order = np.random.default_rng(SEED).permutation(len(asked))
    prompts, truths = zip(*(asked[place] for place in order), strict=True)
    return {"prompt": np.array(prompts, dtype=object)}, np.array(truths, dtype=object)


def _speakers(every: list[Speech]) -> list[tuple[str, str]]:
    others = (own[round(LEARNED * EACH) :] for own in chosen(every))
    return [(f"{one}{QUESTION}", one.speaker) for own in others for one in own]


def _scenes(every: list[Speech]) -> list[tuple[str, str]]:
    """Where four short speeches follow each other: the scene so far, and the speech behind it."""
    short = [SHORTEST <= len(one.words) <= LONGEST for one in every]
    starts = (s for s in range(len(every) - SCENE) if all(short[s : s + SCENE]))
    scenes = ([*map(str, every[start : start + SCENE + 1])] for start in starts)
    return [("\n".join(scene[:SCENE]) + GO_ON, scene[SCENE]) for scene in scenes]


if __name__ == "__main__":
    sys.exit("world.py is used by the program that plays the devices")
