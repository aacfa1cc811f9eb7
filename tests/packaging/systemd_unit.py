"""Run the agent's unit under a real systemd: ready, watched, confined, killed, hung and stopped.

The system is a container that debootstrap fills and systemd-nspawn boots, on this machine's
loopback. It takes minutes and root, so it is no unit test; where something is missing it says
"not measured", and why.

    python tests/packaging/systemd_unit.py [--base FOLDER]

``--base`` keeps the folder that debootstrap fills, which takes the longest, for the next time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from debian_root import (
    ROOT,
    debian,
    edgeloop,
    free_port,
    hold,
    missing,
    released,
    run,
    wheel,
    wheels,
)

UNIT = ROOT / "examples" / "systemd" / "edgeloop-agent.service"
TRIAL = Path(__file__).with_name("systemd_trial.sh")
PYTHON, DEVICE, SOCKET = "/opt/edgeloop/bin/python", "/var/lib/edgeloop", "/run/edgeloop/agent.sock"
PATIENCE = 300  # seconds
READY = f"""
import socket
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({SOCKET!r})
    asking.sendall(b"GET /v2/health/ready HTTP/1.1\\r\\nHost: agent\\r\\n\\r\\n")
    raise SystemExit(b" 200 " not in asking.recv(100))
"""
SERVICE = """
[Service]
Type=oneshot
ExecStart=/bin/sh /trial.sh
[Install]
WantedBy=multi-user.target
"""
WANTED = {
    "started": "running",
    "user": "edgeloop",
    "watchdog": "heard",
    "answers": "yes",
    "state": "written",
    "system": "refused",
    "killed": "again running",
    "hung": "again running",
    "stopped": "success 0",
}


def main() -> int:
    """Say what is missing, or boot and compare."""
    parser = argparse.ArgumentParser(description="Try the agent's unit under systemd.")
    parser.add_argument("--base", type=Path, help="Where debootstrap's folder is kept.")
    asked = parser.parse_args()
    if lacking := missing("systemd-nspawn"):
        print(f"not measured: {lacking}")
        return 0
    with TemporaryDirectory(prefix="edgeloop-systemd-") as folder:
        work = Path(folder)
        system = work / "system"
        run("cp", "--archive", debian(asked.base or work / "base"), system)  # with its devices
        install(system, work)
        mine, port = released(work), free_port()
        edgeloop(mine, "fleet", "up", "--port", str(port), "--poll", "1", "--no-tls")
        try:
            enrol(system, mine, port)
            edgeloop(mine, "rollout", "start")
            told = booted(system)
        finally:
            edgeloop(mine, "fleet", "stop")
    for what, wanted in WANTED.items():
        hold(told.get(what) == wanted, f"{what}: {wanted}", f"FAIL {what}: {told}")
    return 0


def install(system: Path, work: Path) -> None:
    """As docs/how-to/devices.md says it."""
    wheels(wheel(work / "built"), system / "wheels")
    pip = ("/opt/edgeloop/bin/pip", "--quiet", "install", "--no-index", "--find-links", "/wheels")
    inside(system, "python3", "-m", "venv", "/opt/edgeloop")
    inside(system, *pip, "edgeloop[device]")
    inside(system, "useradd", "--system", "--home-dir", DEVICE, "edgeloop")
    owner = ("--owner", "edgeloop", "--group", "edgeloop", "--mode", "0700")
    inside(system, "install", "--directory", *owner, DEVICE)
    place = system / "etc" / "systemd" / "system"
    shutil.copy(UNIT, place)
    (place / "trial.service").write_text(SERVICE)
    shutil.copy(TRIAL, system / "trial.sh")
    (system / "ready.py").write_text(READY)
    inside(system, "systemctl", "enable", "trial")


def enrol(system: Path, mine: Path, port: int) -> None:
    shutil.copy(mine / "repository" / "metadata" / "1.root.json", system / "root.json")
    (system / "root.json").chmod(0o644)
    server, token = f"http://127.0.0.1:{port}", edgeloop(mine, "fleet", "token").strip()
    told = ("--server", server, "--token", token, "--name", "d1", "--model", "mine")
    more = ("--root", "/root.json", "--listen", f"unix:{SOCKET}")
    user = ("setpriv", "--reuid", "edgeloop", "--regid", "edgeloop", "--clear-groups")
    inside(system, *user, PYTHON, "-m", "edgeloop.agent", "enrol", "--folder", DEVICE, *told, *more)


def booted(system: Path) -> dict[str, str]:
    """Boot until the trial switches the container off; what it told."""
    how = ("--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot")
    line = ["systemd-nspawn", *how, "--directory", str(system)]
    nothing = subprocess.DEVNULL
    subprocess.run(line, stdin=nothing, stdout=nothing, timeout=PATIENCE, check=False)
    rows = (system / "told").read_text().splitlines() if (system / "told").exists() else []
    return dict(row.split("=", 1) for row in rows)


def inside(system: Path, *line: str) -> None:
    run("chroot", system, *line)


if __name__ == "__main__":
    sys.exit(main())
