"""Run the public tuf-conformance suite against the part of the agent that trusts.

    git clone https://github.com/theupdateframework/tuf-conformance
    python tests/hostile/conformance.py tuf-conformance

The suite is no package, so it is named by its folder; some of its tests need the program
``faketime``. It calls this file again, as the client under test (``init``, ``refresh``,
``download``), which does what an agent does: the same store of what is trusted, over the same
transport. There is no list of expected failures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.transport import Urllib3Transport
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError
from edgeloop.protocol import keys
from edgeloop.release import trusted_time
from edgeloop.release.trusted_store import TrustedStore

COMMANDS = ("init", "refresh", "download")
FIRST_ROOT = "first-root.json"


def main(told: list[str]) -> int:
    if any(word in COMMANDS for word in told):
        return _client(told)
    (folder,) = (Path(word).resolve() for word in told)
    with TemporaryDirectory() as link:
        entry = Path(link) / "edgeloop"  # the suite splits a command at its spaces
        entry.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
        entry.chmod(0o755)
        command = [sys.executable, "-m", "pytest", "tuf_conformance", "-q", "--entrypoint", entry]
        paths = os.pathsep.join([str(folder), str(Path(__file__).parents[2] / "src")])
        # the suite fakes the day, and a device's monotonic time would jump with it
        faked = {"PYTHONPATH": paths, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        environment = {**os.environ, **faked}
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def _client(words: list[str]) -> int:
    told = _arguments(words)
    trusted_time.RELEASED = "2020-01-01"  # the suite shows a repository of 2025, on a day of then
    folder = told.metadata_dir.parent  # whose ``metadata`` and ``targets`` the suite looks into
    if told.command == "init":
        shutil.copyfile(told.trusted_root, folder / FIRST_ROOT)
        shutil.copyfile(told.trusted_root, told.metadata_dir / "root.json")
        return 0
    try:
        store = _store(folder, told.metadata_url, told.target_base_url or "")
        store.refresh()
        for name in told.target_name or ():
            store.read(name)
    except EdgeloopError as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def _store(folder: Path, metadata: str, targets: str) -> TrustedStore:
    clock = SystemClock()
    plane = ControlPlane("http://nobody", keys.generate(), "d1", Urllib3Transport(), clock)
    root = (folder / FIRST_ROOT).read_bytes()
    return TrustedStore(folder, root, plane.fetch, (metadata, targets), clock=clock)


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("trusted_root", nargs="?", type=Path)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
