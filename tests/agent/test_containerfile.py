"""What the container of a server would run, run here: the image itself is not built by a test."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import urllib3
from tests.agent.test_agent_program import SOURCE, folder  # noqa: F401  (a fixture)

TEXT = (Path(__file__).parents[2] / "examples" / "server" / "Containerfile").read_text()


def words(instruction: str) -> list[str]:
    """The one JSON list behind an instruction, with this Python in place of the image's."""
    (found,) = re.findall(rf"^ *{instruction} (\[.*\])$", TEXT, re.MULTILINE)
    first, *rest = json.loads(found)
    return [sys.executable if first == "python" else first, *rest]


def test_the_entrypoint_serves_is_healthy_and_ends_when_it_is_asked_to(folder: Path) -> None:  # noqa: F811
    run, health = re.findall(r"^ *CMD (\[.*\])$", TEXT, re.MULTILINE)[::-1]
    told = [str(folder) if word == "/device" else word for word in json.loads(run)]
    told[told.index("0.0.0.0:8080")] = "0.0.0.0:0"
    line, environment = [*words("ENTRYPOINT"), *told], {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"].replace("0.0.0.0", "127.0.0.1")
        probe = json.loads(health)[2].replace("http://127.0.0.1:8080", url)
        subprocess.run([sys.executable, "-c", probe], check=True)
        assert urllib3.request("GET", f"{url}/v2/health/ready").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_nobody_is_root_and_the_folder_is_kept() -> None:
    lines = TEXT.splitlines()
    assert lines.index("USER agent") < lines.index("EXPOSE 8080")
    assert "VOLUME /device" in lines
    assert re.search(r"^FROM \S+:3\.11-slim$", TEXT, re.MULTILINE)
