"""How long ``import edgeloop`` and ``edgeloop --help`` take, and what they load."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from statistics import median

from environments import EDGELOOP
from figure import Figure, Measured, main
from timing import interleaved, run, spread

REPEATS = 21
MOST = {"import edgeloop": 0.100, "edgeloop --help": 0.400}  # seconds of the whole process
HEAVY = ("torch", "pandas", "mlflow", "numpy", "onnx", "onnxruntime", "fastapi", "sqlalchemy")
LOADED = (
    "import sys; sys.argv = ['edgeloop', '--help']\n"
    "try:\n    {}\n"
    "finally:\n    print(*[n for n in {} if n in sys.modules], sep=' ')"
)


def measure(work: Path) -> Measured:
    """Whole processes, beside a Python that does nothing."""
    del work
    lines: dict[str, list[object]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import edgeloop": [sys.executable, "-c", "import edgeloop"],
        "edgeloop --help": [EDGELOOP, "--help"],
    }
    taken = interleaved({name: partial(run, line) for name, line in lines.items()}, REPEATS)
    bare = taken["python -c pass"]
    figures = [_figure(name, taken[name], bare) for name in MOST]
    return Measured(figures=(*figures, _heavy()), samples=taken)


def _figure(name: str, taken: list[float], bare: list[float]) -> Figure:
    own = median(taken) - median(bare)
    return Figure(
        what=name,
        value=f"{spread(taken, 'ms')}, {own * 1000:.0f} ms above `python -c pass`",
        target=f"{MOST[name] * 1000:.0f} ms or less",
        met=median(taken) <= MOST[name],
        parts=(f"`python -c pass`: {spread(bare, 'ms')}",),
    )


def _heavy() -> Figure:
    """Which heavy modules either of them loads."""
    scripts = ("import edgeloop", "from edgeloop.cli.main import main; main()")
    found: set[str] = set()
    for script in scripts:
        code = LOADED.format(script, HEAVY)
        found |= set(run([sys.executable, "-c", code]).splitlines()[-1].split()) & set(HEAVY)
    return Figure(
        what="heavy modules loaded by either",
        value=", ".join(sorted(found)) or "none",
        target="none of torch, pandas, mlflow",
        met=not found & {"torch", "pandas", "mlflow"},
        parts=(f"looked for: {', '.join(HEAVY)}",),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
