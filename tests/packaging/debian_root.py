"""A minimal Debian by debootstrap, wheels of this tree, and a loop with a release: for scripts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from pages import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "server-and-batch.md"
SUITE = "bookworm"  # its Python is 3.11
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates,systemd,systemd-sysv,dbus"
PIP = (sys.executable, "-m", "pip", "--quiet", "wheel")


def missing(*tools: str) -> str:
    """Why nothing can be measured here; "" where it can."""
    lacking = [f"no {tool}" for tool in (*tools, "debootstrap") if shutil.which(tool) is None]
    return ", ".join(lacking or ([] if os.geteuid() == 0 else ["not root"]))


def debian(folder: Path) -> Path:
    """A Debian in ``folder``, which is kept when it is there."""
    if not (folder / "usr").exists():
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder)
    return folder


def wheel(folder: Path) -> Path:
    """The wheel of this tree."""
    run(*PIP, "--no-deps", "--wheel-dir", folder, ROOT)
    (found,) = folder.glob("edgeloop-*.whl")
    return found


def wheels(built: Path, folder: Path) -> None:
    """Everything that an agent with a runtime needs, of the versions that were tested together."""
    constraints = ROOT / "constraints.txt"
    run(*PIP, "--wheel-dir", folder, "--constraint", constraints, f"{built}[device]")


def released(work: Path) -> Path:
    """A loop with its first release, as the page about servers makes it."""
    script = next(text for _, name, text in blocks(PAGE) if name == "make_model.py")
    (work / "make_model.py").write_text(script)
    run(sys.executable, "make_model.py", folder=work)
    edgeloop(work, "init", "mine", "--from", "model.onnx", "--data", "sample.npz")
    edgeloop(work / "mine", "run")
    return work / "mine"


def edgeloop(folder: Path, *words: str) -> str:
    """The command line of this tree, in the folder of a loop."""
    return run(sys.executable, "-m", "edgeloop.cli.main", *words, folder=folder)


def run(*line: object, folder: Path | None = None) -> str:
    """A command that must succeed; what it printed."""
    words = [str(word) for word in line]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    hold(done.returncode == 0, "", f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def hold(holds: bool, what: str, otherwise: str = "") -> None:
    """Say that it holds, or end."""
    if not holds:
        sys.exit(otherwise or f"FAIL {what}")
    if what:
        print(f"ok   {what}", flush=True)
