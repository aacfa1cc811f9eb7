"""What a page tells a reader to do: its files and its commands, as one script that can be run."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)(?: ([\w./-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)
PATIENCE = 240  # seconds after which a page is stuck


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, file name or "", text) of each fenced block, in order."""
    return BLOCK.findall(page.read_text())


def script(page: Path) -> str:
    """The page as a shell script: files are written where they stand, commands run in order."""
    lines = ["set -eux"]  # as a reader's shell: no pipefail, which `grep -q` would trip over
    for language, name, text in blocks(page):
        if language == "console":
            lines += COMMAND.findall(text)
        elif name:
            lines += [
                f"mkdir -p {Path(name).parent}",
                f"cat > {name} <<'THE_END'",
                text + "THE_END",
            ]
    return "\n".join(lines) + "\n"


def run(page: Path, folder: Path, changed: dict[str, str] | None = None) -> str:
    """Run a page in ``folder`` and give what it printed; whatever it started is ended.

    ``changed`` replaces words of the page, such as ports that may be taken here.
    """
    text = script(page)
    for old, new in (changed or {}).items():
        assert old in text, f"{page.name} does not say {old!r}"
        text = text.replace(old, new)
    (folder / "page.sh").write_text(text)
    return in_a_session([*BASH, "page.sh"], folder)


BASH = ("bash", "--norc")


def in_a_session(line: list[str], folder: Path) -> str:
    """Run a command in a session of its own, so that nothing of it can stay behind."""
    log = folder / "page.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            line, cwd=folder, env=environment(), stdout=stream, stderr=stream,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(PATIENCE)
        finally:
            end(process.pid)
            end_control_plane(folder)
            process.wait()
    told = log.read_text()
    assert status == 0, f"exit status {status}:\n{told[-6000:]}"
    return told


def end(group: int) -> None:
    """End every process of a group that we started."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_control_plane(folder: Path) -> None:
    """End a control plane that a page started and, because it failed, did not stop."""
    line = [sys.executable, "-m", "edgeloop.cli.main", "fleet", "stop"]
    subprocess.run(line, cwd=folder, env=environment(), capture_output=True, check=False)


def environment() -> dict[str, str]:
    """This one, with the programs of this interpreter's environment first."""
    programs = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
