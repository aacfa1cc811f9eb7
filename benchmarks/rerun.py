"""How long ``edgeloop run`` takes when nothing has changed, beside DVC on a like pipeline."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

import dvc_pipeline
from environments import EDGELOOP, template_loop
from figure import Figure, Measured, main, not_measured
from timing import interleaved, run, spread

REPEATS = 9
MOST = 2.0  # seconds
OURS, THEIRS = "edgeloop run", "dvc repro"


def measure(work: Path) -> Measured:
    """The loop that ``edgeloop init`` writes, run again; both tools in turn, when DVC is here."""
    loop = template_loop(work)
    works: dict[str, Callable[[], object]] = {OURS: partial(_again, loop)}
    before = _again(loop)
    try:
        dvc = dvc_pipeline.installed(work)
    except RuntimeError:
        taken = interleaved(works, REPEATS)
        beside = not_measured(f"{THEIRS} beside it", "DVC does not install here")
    else:
        project = dvc_pipeline.prepared(dvc, Path(mkdtemp(dir=work)) / "dvc", loop)
        works[THEIRS] = partial(dvc_pipeline.rerun, dvc, project)
        taken = interleaved(works, REPEATS)
        beside = _beside(taken, dvc_pipeline.stages_run(project), len(before["steps"]))
    after = _again(loop)
    return Measured(figures=(*_ours(taken[OURS], before, after), beside), samples=taken)


def _again(loop: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run([EDGELOOP, "run", loop, "--format", "json"]))
    return told


def _ours(taken: list[float], before: dict[str, Any], after: dict[str, Any]) -> tuple[Figure, ...]:
    which = "same release" if before["release"] == after["release"] else "OTHER release"
    seconds = Figure(
        what="`edgeloop run` again, nothing changed (whole process)",
        value=spread(taken),
        target=f"{MOST:.0f} s or less",
        met=median(taken) <= MOST,
    )
    steps = Figure(
        what="steps executed by it",
        value=f"{after['executed']} of {len(after['steps'])}, {which}",
        target="0",
        met=after["executed"] == 0 and before["release"] == after["release"],
    )
    return seconds, steps


def _beside(taken: dict[str, list[float]], stages: int, steps: int) -> Figure:
    """DVC's figure; not measured when a stage ran where nothing had changed."""
    what = f"`{THEIRS}` beside it, nothing changed, same bytes"
    extra = stages - len(dvc_pipeline.STAGES)
    if extra:
        return not_measured(what, f"{extra} stages ran where none should")
    ratio = median(taken[OURS]) / median(taken[THEIRS])
    return Figure(
        what=what,
        value=f"{spread(taken[THEIRS])}; ours takes {ratio:.2f} of it",
        parts=(
            f"DVC {dvc_pipeline.VERSION} with {len(dvc_pipeline.STAGES)} stages, ours {steps}",
            "interleaved; neither ran any",
        ),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
