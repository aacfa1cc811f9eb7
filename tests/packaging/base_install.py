"""Install the wheel alone into an empty environment and look: is it what a device needs, no more?

Run by ``make base-install``. It builds the wheel and asks the package index, so it is no unit test.
"""

import json
import os
import socket
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
MOST_BYTES = 70_000_000  # without .pyc, which each device makes for itself
MOST_DIRECT = 12
HEAVY = ("torch", "pandas", "numpy", "fastapi", "sqlalchemy", "typer", "rich", "onnx", "mlflow")
TOOLS = ("pip", "setuptools", "_distutils_hack", "pkg_resources")  # the environment's, not ours
FIRST_ROOT = """
import sys
from datetime import UTC, datetime, timedelta
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root
signer = CryptoSigner.generate_ed25519()
root = Root(expires=datetime.now(UTC) + timedelta(days=1))
root.add_key(signer.public_key, "root")
metadata = Metadata(root)
metadata.sign(signer)
metadata.to_file(sys.argv[1])
"""
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def main() -> int:
    """Check one thing after the other; the first that does not hold ends it."""
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    hold(len(direct) <= MOST_DIRECT, f"{len(direct)} direct dependencies, at most {MOST_DIRECT}")
    with TemporaryDirectory(prefix="edgeloop-base-") as folder:
        wheel = built(Path(folder))
        python = empty_environment(Path(folder) / "environment")
        install(python, str(wheel))
        check_programs(python)
        check_imports(python)
        check_unreachable(python, Path(folder))
        size = installed_bytes(python)
        hold(size <= MOST_BYTES, f"{size / 1e6:.1f} MB installed, at most {MOST_BYTES / 1e6:.0f}")
        install(python, f"{wheel}[device]")
        print(f"     {installed_bytes(python) / 1e6:.1f} MB with the extra device (runtime, numpy)")
    return 0


def built(folder: Path) -> Path:
    """The wheel of this source tree."""
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("edgeloop-*.whl")
    return wheel


def empty_environment(folder: Path) -> Path:
    """The Python of a new virtual environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def install(python: Path, what: str) -> None:
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", what)


def check_programs(python: Path) -> None:
    """Both programs start where only the base is installed."""
    for line in ([python, "-m", "edgeloop.agent"], [python.parent / "edgeloop"]):
        said = run(*line, "--help").stdout
        hold("usage" in said.lower(), f"{' '.join(Path(part).name for part in line)} --help")


def check_imports(python: Path) -> None:
    """The agent loads nothing heavy, whatever is installed."""
    script = (
        "import json, sys, edgeloop.agent.agent, edgeloop.agent.__main__;"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    loaded = json.loads(run(python, "-c", script).stdout)
    hold(not loaded, f"the agent loads none of {', '.join(HEAVY)} (loaded: {loaded or 'none'})")


def check_unreachable(python: Path, folder: Path) -> None:
    """Without a control plane, ``enrol`` says so by number and exit code."""
    run(python, "-c", FIRST_ROOT, folder / "root.json")
    port = closed_port()
    server = f"http://127.0.0.1:{port}"
    options = ["--server", server, "--token", "t", "--name", "d1", "--model", "sorter"]
    files = ["--folder", folder / "d1", "--root", folder / "root.json"]
    line = [python, "-m", "edgeloop.agent", "enrol", *options, *files]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=clean())
    hold(done.returncode == 7, f"exit code 7 without a control plane (got {done.returncode})")
    refused = "Failed to establish a new connection: [Errno 111] Connection refused"
    got = f"HTTPConnection(host='127.0.0.1', port={port}): {refused}"
    wanted = f"[E601] {server}/v1/enrol must answer, got {got}"
    last = done.stderr.strip().splitlines()[-1]
    hold(last == wanted, f"E601 without a control plane: {last}")


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def installed_bytes(python: Path) -> int:
    """What lies in the environment, without compiled caches and without pip itself."""
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    files = [path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    ours = [p for p in files if p.relative_to(site).parts[0].split("-")[0] not in TOOLS]
    return sum(path.stat().st_size for path in ours)


def run(*line: object) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    words = [str(word) for word in line]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=clean())
    hold(done.returncode == 0, "", f"{' '.join(words[:6])} ... failed:\n{done.stdout}{done.stderr}")
    return done


def clean() -> dict[str, str]:
    """This environment without what would let the source tree in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def hold(holds: bool, what: str, otherwise: str = "") -> None:
    if not holds:
        sys.exit(otherwise or f"FAIL {what}")
    if what:
        print(f"ok   {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
