"""What the parts of an agent ask of whoever runs it: to go on, to end, to begin anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Running:
    """One run of an agent: ``stop`` ends it, and ``watcher`` learns that it does not hang."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.watcher: Callable[[], None] = _nothing
        self.heard = False  # a report of this process came through
        self.restarts = False  # a new environment of the agent waits for this one to end

    def alive(self) -> None:
        """It does not hang."""
        self.watcher()

    def restart(self) -> None:
        """What updates this very program asks for it; whoever runs the agent does it."""
        if not self.restarts:
            logger.info("restart.done")
        self.restarts = True
        self.stop.set()


def _nothing() -> None:
    """What is called where nobody watches."""
