"""The machine in general terms: what a reader needs to compare figures, and no name of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """Property -> words."""
    return {
        "processor": f"{len(os.sched_getaffinity(0))} cores, {_processor()}, {platform.machine()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_system()}, Linux {'.'.join(platform.release().split('.')[:2])}",
        "Python": platform.python_version(),
    }


def load() -> str:
    """How many processes wanted a core in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    told = {name.strip(): value.strip() for name, _, value in pairs}
    return f"{told.get('model name', 'unknown')} (family {told.get('cpu family', '?')})"


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
