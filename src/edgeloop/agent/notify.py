"""Tell the service manager that started this agent how it is (systemd's sd_notify protocol)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

ADDRESS = "NOTIFY_SOCKET"
LEAST_SECONDS = 1.0  # between two signs of life: a download has thousands of pieces


class Notifier:
    """Sends to the socket that ``NOTIFY_SOCKET`` names; without it nobody is told anything.

    What cannot be sent is logged once: an agent does its work whether it is heard or not.
    """

    def __init__(self, address: str, timer: Callable[[], float] = time.monotonic) -> None:
        # a name that begins with @ is in no folder
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._timer, self._last, self._failed = timer, float("-inf"), False

    @classmethod
    def of_environment(cls) -> Notifier:
        """The one that this process was started with."""
        return cls(os.environ.get(ADDRESS, ""))

    def ready(self) -> None:
        """It answers; before this the manager waits with what needs it."""
        self._send("READY=1")

    def stopping(self) -> None:
        """It was asked to end and does so."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """It does not hang. May be called as often as one likes."""
        now = self._timer()
        if now - self._last >= LEAST_SECONDS:
            self._last = now
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(LEAST_SECONDS)
                out.sendto(message.encode(), self._address)
        except OSError as fault:
            if not self._failed:
                logger.warning("notify.failed message=%s fault=%s", message, fault)
            self._failed = True
