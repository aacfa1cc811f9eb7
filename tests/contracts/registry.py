"""What a fresh process finds registered, and what the files on disk say that it should find."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

from edgeloop.plugins import KINDS

LIST = """
import json, sys
from edgeloop import plugins
print(json.dumps({kind: list(plugins.names(kind)) for kind in plugins.KINDS}))
"""
STATED = re.compile(r"^@register\(\s*\"(\w+)\",\s*\"([\w.]+)\"", re.MULTILINE)


def registered() -> list[tuple[str, str]]:
    """Every (kind, name) of the live registry, seen by a process that imported nothing else."""
    line = [sys.executable, "-c", LIST]
    found = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return [(kind, name) for kind, names in found.items() for name in names]


def written() -> list[tuple[str, str]]:
    """Every (kind, name) that a module of the rooms registers, by its text."""
    found = []
    for room in sorted(set(KINDS.values())):
        folder = Path(importlib.util.find_spec(room).origin).parent
        for path in sorted(folder.rglob("*.py")):
            found += STATED.findall(path.read_text())
    return found
