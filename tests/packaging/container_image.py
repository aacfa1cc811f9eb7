"""Build the agent's container file for real, and let the container be enrolled, answer and end.

No registry is asked: the image that the file begins with is made by debootstrap, of Debian's own
Python, and pip takes wheels from a folder. It takes minutes, root and two tools, so it is no unit
test. Where something is missing it says "not measured", and why. Isolation is chroot's, since that
works without cgroups: network and process numbers are this machine's.

    python tests/packaging/container_image.py [--base FOLDER]

``--base`` keeps the folder that debootstrap fills, which takes the longest, for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import urllib3
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

EXAMPLE = ROOT / "examples" / "server" / "Containerfile"
BASE, IMAGE, PLACE = "docker.io/library/python:3.11-slim", "edgeloop-server", "/wheels"
AGENT = 10001  # the user of the container file
PATIENCE = 120  # seconds
# what the official image has and Debian's packages do not
AS_THE_IMAGE = "rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -sf python3 /usr/bin/python"
MODEL = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}


def main() -> int:
    """Say what is missing, or build and try one thing after the other."""
    parser = argparse.ArgumentParser(description="Build and try the agent's container.")
    parser.add_argument("--base", type=Path, help="Where debootstrap's folder is kept.")
    asked = parser.parse_args()
    if lacking := missing("buildah"):
        print(f"not measured: {lacking}")
        return 0
    with TemporaryDirectory(prefix="edgeloop-image-") as folder:
        work = Path(folder)
        base = debian(asked.base or work / "base")
        image = Image(work)
        image.begin(base)
        image.build()
        tried(image, work)
    return 0


class Image:
    """The image, in a store of its own that is gone with the folder."""

    def __init__(self, work: Path) -> None:
        self.context, self.wheels = work / "context", work / "wheels"
        store = ("--root", work / "store", "--runroot", work / "run")
        self.buildah = ("buildah", *store, "--storage-driver", "vfs")
        self.container = ""

    def begin(self, base: Path) -> None:
        """The image that the container file begins with."""
        made = run(*self.buildah, "from", "scratch").strip()
        run(*self.buildah, "add", "--quiet", made, base, "/")
        run(*self.buildah, "run", "--isolation", "chroot", made, "--", "sh", "-c", AS_THE_IMAGE)
        settings = ("--env", "PIP_NO_INDEX=1", "--env", f"PIP_FIND_LINKS={PLACE}")
        run(*self.buildah, "config", *settings, made)
        run(*self.buildah, "commit", "--quiet", made, BASE)
        run(*self.buildah, "rm", made)

    def build(self) -> None:
        """The wheel of this tree, and the container file as it stands in the examples."""
        wheels(wheel(self.context), self.wheels)
        shutil.copy(ROOT / "constraints.txt", self.context)
        shutil.copy(EXAMPLE, self.context)
        how = ("--isolation", "chroot", "--pull=never", "--format", "docker")
        mounted = ("--volume", f"{self.wheels}:{PLACE}:ro")
        run(*self.buildah, "bud", "--quiet", *how, *mounted, "--tag", IMAGE, self.context)
        self.container = run(*self.buildah, "from", IMAGE).strip()
        # buildah would lay a volume of its own over the folder that we give
        run(*self.buildah, "config", "--volume", "/device-", self.container)
        print("ok   the container file builds")

    def config(self) -> dict[str, object]:
        """What the image says of itself."""
        told = json.loads(run(*self.buildah, "inspect", "--type", "image", IMAGE))
        found: dict[str, object] = told["Docker"]["config"]
        return found

    def line(self, device: Path, *words: str) -> list[str]:
        """How words of the image's own program are run in it, with a device's folder."""
        entry = self.config()["Entrypoint"]
        assert isinstance(entry, list)
        told = ("run", "--isolation", "chroot", "--volume", f"{device}:/device")
        return [str(word) for word in (*self.buildah, *told, self.container, "--", *entry, *words)]


def tried(image: Image, work: Path) -> None:
    """Enrolment, first release, answers, end, kill, and a start without a control plane."""
    mine, port = released(work), free_port()
    device = work / "device"
    device.mkdir()
    os.chown(device, AGENT, AGENT)
    edgeloop(mine, "fleet", "up", "--port", str(port), "--poll", "1")
    try:
        enrol(image, mine, device, f"https://127.0.0.1:{port}")
        edgeloop(mine, "rollout", "start")
        with running(image, device) as (process, url):
            answers(process, url)
            healthy(image, url)
            status = ended(process, signal.SIGTERM)
            hold(status == 0, "it ends with 0 when it is asked to", f"FAIL it ends with {status}")
        with running(image, device) as (process, url):
            answers(process, url)
            ended(process, signal.SIGKILL)
    finally:
        edgeloop(mine, "fleet", "stop")
    with running(image, device) as (process, url):
        answers(process, url)
        print("ok   killed, and started again without a control plane, it answers")
        ended(process, signal.SIGTERM)


def enrol(image: Image, mine: Path, device: Path, server: str) -> None:
    """As a person does it who brings authority, first root and token."""
    root = mine / "repository" / "metadata" / "1.root.json"
    for name, source in (("ca.pem", mine / "fleet" / "tls" / "ca.pem"), ("root.json", root)):
        shutil.copy(source, device / f"given-{name}")
        (device / f"given-{name}").chmod(0o644)
    token = edgeloop(mine, "fleet", "token").strip()
    told = ("--server", server, "--token", token, "--name", "s1", "--model", "mine")
    given = ("--ca", "/device/given-ca.pem", "--root", "/device/given-root.json")
    run(*image.line(device, "enrol", "--folder", "/device", *told, *given))
    enrolled = (device / "agent.json").stat().st_uid == AGENT
    hold(enrolled, "it is enrolled, by a user without rights")


@contextmanager
def running(image: Image, device: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The image's own command, but for its port, which may be taken here."""
    command, port = image.config()["Cmd"], free_port()
    assert isinstance(command, list)
    words = [word.replace(":8080", f":{port}") for word in command]
    assert words != command, "the container file has another port"
    log = device.parent / "container.log"
    with (
        log.open("w") as stream,
        subprocess.Popen(image.line(device, *words), stdout=stream, stderr=stream, text=True) as it,
    ):
        try:
            yield it, f"http://127.0.0.1:{port}"
        except BaseException:  # whatever ends the trial, what the container said is shown
            sys.stderr.write(log.read_text()[-4000:])
            raise
        finally:
            if it.poll() is None:
                ended(it, signal.SIGKILL)


def answers(process: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if urllib3.request("GET", f"{url}/v2/health/ready", retries=False).status == 200:
                break
        except urllib3.exceptions.HTTPError:
            pass
        hold(process.poll() is None, "", "the container ended by itself")
        hold(time.monotonic() < deadline, "", "the container was not ready in time")
        time.sleep(0.2)
    reply = urllib3.request("POST", f"{url}/v2/models/mine/infer", json=MODEL)
    hold(reply.status == 200, f"it answers with {reply.json()['model_name']}")


def healthy(image: Image, url: str) -> None:
    """The health check that the image carries, in the container."""
    check = image.config()["Healthcheck"]
    assert isinstance(check, dict)
    words = [word.replace("http://127.0.0.1:8080", url) for word in check["Test"][1:]]
    told = ("run", "--isolation", "chroot", image.container, "--", *words)
    run(*image.buildah, *told)
    print("ok   its health check finds it well")


def ended(process: subprocess.Popen[str], how: signal.Signals) -> int:
    """End the agent itself, which is below the processes of buildah; gives the exit status."""
    last = process.pid
    while not Path(f"/proc/{last}/cmdline").read_bytes().partition(b"\0")[0].endswith(b"python"):
        below = [file.read_text() for file in Path(f"/proc/{last}/task").glob("*/children")]
        last = int("".join(below).split()[0])  # any of its threads may have begun it
    os.kill(last, how)
    return process.wait(PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
