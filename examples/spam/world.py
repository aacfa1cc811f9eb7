"""The world of the spam example: mails that come through a gateway which puts a notice on top.

They are mails of the corpus of which the loop never sees one.
"""

import numpy as np

from edgeloop.data.sets.spam import mails

ANSWER_SECONDS = 0.05  # between two mails of a device
EACH_SITE = 1  # device, so that a machine of two cores has one for each
LEARNED = 0.137  # share of the mails; data.source.share of loop.yaml
NOTICE = "[EXTERNAL] THIS MAIL CAME FROM OUTSIDE. BE CAREFUL WITH LINKS AND ATTACHMENTS.\n\n"


def rows(*, changed: bool, count: int = 1500) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """``count`` mails, and what is true of them (int64[n], index into CLASSES).

    In the field that ``changed``, the south's mail gateway marks what came from outside: the same
    notice stands on top of every mail.
    """
    texts, labels = mails(LEARNED, rest=True, most=count)
    if changed:
        texts = np.array([NOTICE + text for text in texts], dtype=object)
    return {"text": texts}, labels
