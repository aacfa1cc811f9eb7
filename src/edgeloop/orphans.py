"""End a process with the one that started it, even when that one was killed.

The parent keeps the write end of a pipe as the child's stdin; the kernel closes it when the parent
ends, however it ends.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable


def terminate() -> None:
    """Send SIGTERM to this process."""
    os.kill(os.getpid(), signal.SIGTERM)


def when_parent_ends(end: Callable[[], None] = terminate) -> None:
    """Call ``end``, from a thread of its own, when stdin reaches its end."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):  # not sys.stdin: its lock outlives a daemon thread
            pass
        end()

    threading.Thread(target=wait, name="parent", daemon=True).start()
