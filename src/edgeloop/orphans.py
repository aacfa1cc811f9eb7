"""End a process with the one that started it, even when that one was killed.

The parent keeps the write end of a pipe as the child's stdin; the kernel closes it when the parent
ends, however it ends.
"""

import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """Send SIGTERM to this process when stdin reaches its end."""
    threading.Thread(target=_wait, name="parent", daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
