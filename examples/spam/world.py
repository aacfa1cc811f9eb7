"""The world of the spam example: mails that come through a gateway which puts a notice on top.

They are mails of the corpus of which the loop never sees one.
"""

import numpy as np

from edgeloop.data.sets.spam import mails

NOTICE = "[EXTERNAL] This mail came from outside. Be careful with links and attachments.\n\n"


def rows(
    changed: bool,  # noqa: FBT001  (the one thing that differs between the two sites)
    count: int = 1800,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """``count`` mails, and what is true of them (int64[n], index into CLASSES).

    In the field that ``changed``, the south's mail gateway marks what came from outside: the same
    notice stands on top of every mail.
    """
    texts, labels = mails("field", count)
    if changed:
        texts = np.array([NOTICE + text for text in texts], dtype=object)
    return {"text": texts}, labels
