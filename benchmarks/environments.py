"""What several benchmarks need and make once in a work folder: clean environments, a first run."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from timing import run

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
EDGELOOP = BIN / "edgeloop"


def base_install() -> Any:
    """The functions of the test that installs the wheel alone, so that both measure alike."""
    folder = str(ROOT / "tests" / "packaging")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return import_module("base_install")


def environment(work: Path, extra: str = "") -> Path:
    """The Python of an environment that has the wheel, with an extra or alone, and nothing else."""
    folder = work / f"environment-{extra or 'base'}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        base = base_install()
        work.mkdir(parents=True, exist_ok=True)
        found = sorted(work.glob("edgeloop-*.whl"))
        wheel = found[0] if found else base.built(work)
        base.empty_environment(folder)
        base.install(python, f"{wheel}[{extra}]" if extra else str(wheel))
        (folder / "ready").touch()
    return python


def template_loop(work: Path) -> Path:
    """The loop file that ``edgeloop init`` writes, run once as it is."""
    folder = work / "template"
    if not (folder / "ready").exists():
        run([EDGELOOP, "init", folder])
        run([EDGELOOP, "run", folder / "loop.yaml"])
        (folder / "ready").touch()
    return folder / "loop.yaml"
