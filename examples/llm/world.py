"""The world of the language model example: what people ask who read Shakespeare together.

The loop takes ``LEARNED`` of the speeches that the data set holds; people ask about the others.
Where the world has changed they paste from a stage script: who comes in stands before the speech,
who goes behind it, and an answer is no longer the first name on the page. All speeches of 20 to 60
characters that follow one of somebody else are pasted so, with who spoke before coming and going.
"""

from __future__ import annotations

import sys
from itertools import pairwise
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

ANSWER_SECONDS = 0.1  # between two answers of a device; each takes some 0.3 s of a processor
EACH_SITE = 1  # device: one takes half of a processor, and all of it beside a slot in probation
LEARNED = 0.3  # share of each speaker's speeches; data.source.share of loop.yaml
SHORTEST, LONGEST = 20, 60  # characters of a speech in a script
SEED = 11


def rows(*, changed: bool) -> tuple[dict[str, Array], Array]:
    """Input ``prompt`` str[n], and the truth str[n]: who speaks."""
    every = speeches(found(NAME, (FILE,), INSTALL)[FILE.name][1].decode())
    asked = _scripts(every) if changed else _speakers(every)
    order = np.random.default_rng(SEED).permutation(len(asked))
    prompts, truths = zip(*(asked[place] for place in order), strict=True)
    return {"prompt": np.array(prompts, dtype=object)}, np.array(truths, dtype=object)


def _speakers(every: list[Speech]) -> list[tuple[str, str]]:
    others = (own[round(LEARNED * EACH) :] for own in chosen(every))
    return [(f"{one}{QUESTION}", one.speaker) for own in others for one in own]


def _scripts(every: list[Speech]) -> list[tuple[str, str]]:
    short = [one for one in every if SHORTEST <= len(one.words) <= LONGEST]
    pairs = ((one, two) for one, two in pairwise(short) if one.speaker != two.speaker)
    return [(_script(two, one.speaker), two.speaker) for one, two in pairs]


def _script(said: Speech, other: str) -> str:
    return f"Enter {said.speaker} and {other}.\n{said}\nExit {other}.{QUESTION}"


if __name__ == "__main__":
    sys.exit("world.py is used by the program that plays the devices")
