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
    again: list[dict[str, Any]] = []
    works: dict[str, Callable[[], object]] = {OURS: lambda: again.append(_again(loop))}
    try:
        dvc = dvc_pipeline.installed(work)
    except RuntimeError:
        taken = interleaved(works, REPEATS)
        beside = not_measured(f"{THEIRS} beside it", "DVC does not install here")
    else:
        project = dvc_pipeline.prepared(dvc, Path(mkdtemp(dir=work)) / "dvc", loop)
        works[THEIRS] = partial(dvc_pipeline.rerun, dvc, project)
        taken = interleaved(works, REPEATS)
        beside = _beside(taken, dvc_pipeline.stages_run(project), len(again[0]["steps"]))
    return Measured(figures=(*_ours(taken[OURS], again), beside), samples=taken)


def _again(loop: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run([EDGELOOP, "run", loop, "--format", "json"]))
    return told


def _ours(taken: list[float], again: list[dict[str, Any]]) -> tuple[Figure, ...]:
    executed = sum(told["executed"] for told in again)
    digests = {told["release"]["digest"] for told in again}
    seconds = Figure(
        what="`edgeloop run` again, nothing changed (whole process)",
        value=spread(taken),
        target=f"{MOST:.0f} s or less",
        met=median(taken) <= MOST,
    )
    steps = Figure(
        what=f"steps executed by all {len(again)} of these runs",
        value=f"{executed} of {sum(len(told['steps']) for told in again)}, release the same: "
        f"{'yes' if len(digests) == 1 else 'NO'}",
        target="0",
        met=executed == 0 and len(digests) == 1,
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
            f"DVC {dvc_pipeline.VERSION}: {len(dvc_pipeline.STAGES)} stages; ours: {steps} steps",
            "interleaved; neither ran any",
        ),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
