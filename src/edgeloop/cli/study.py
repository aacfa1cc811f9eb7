"""``study``: loops compared over arms and seeds; a finding in place of a release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeloop.cli.output import Format, FormatOption, aligned, show
from edgeloop.cli.steps import Steps

if TYPE_CHECKING:
    from edgeloop.loop.study import StudyRun
    from edgeloop.loop.study_result import ArmResult, Comparison


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(study)


def study(
    file: Annotated[Path, typer.Argument(help="The study file.")] = Path("study.yaml"),
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write one self-contained HTML file.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Compare arms of loops over seeds: a finding with intervals. Nothing is released.

    Every loop, arm and seed runs up to the measured check, by the steps of `edgeloop run`; what the
    store has does not run again. Exit code 0 whatever was found.
    """
    from edgeloop.loop.study import run_study
    from edgeloop.loop.study_file import load_study
    from edgeloop.loop.study_report import write_study_report
    from edgeloop.recipes.tracking import MlflowTracker
    from edgeloop.store.artifacts import Store

    checked = load_study(file)
    store = Store(checked.store)
    with Steps() as steps:
        made = run_study(
            checked,
            store,
            tracker=MlflowTracker.in_file(checked.store / "mlflow.sqlite", checked.name),
            progress=steps.progress,
            on_variant=lambda variant, seed: steps.say(f"{variant.loop} {variant.arm} seed {seed}"),
            on_step=steps.step,
        )
    if report is not None:
        write_study_report(made.result, made.artifact.digest, report)
    show(_told(made, report), form, _summary(made, report))


def _told(made: StudyRun, report: Path | None) -> dict[str, Any]:
    return {
        "artifact": made.artifact.digest,
        "executed": made.executed,
        "steps": len(made.steps),
        "report": report and str(report),
        **made.result.to_meta(),
    }


ARMS = ("loop", "arm", "seeds", "mean", "deviation")
DIFFERENCES = ("loop", "arm", "difference", "95 % over seeds", "95 % over rows", "verdict")


def _summary(made: StudyRun, report: Path | None) -> str:
    result = made.result
    lines = [
        result.question,
        *aligned([ARMS, *map(_arm, result.arms)]),
        f"{result.measure} minus that of {result.baseline}",
        *aligned([DIFFERENCES, *map(_difference, result.comparisons)]),
    ]
    lines += [
        f"not measured: {one.loop}, {one.arm}, seed {one.seed}: {one.reason}"
        for one in result.not_measured
    ]
    ran = f"({made.executed} of {len(made.steps)} steps ran)"
    lines += [*([f"wrote {report}"] if report else []), f"study {made.artifact.digest} {ran}"]
    return "\n".join(lines)


def _arm(one: ArmResult) -> tuple[str, ...]:
    figures = ("" if value is None else f"{value:.4g}" for value in (one.mean, one.deviation))
    return (one.loop, one.arm, str(one.seeds), *figures)


def _difference(one: Comparison) -> tuple[str, ...]:
    mean = "" if one.mean is None else f"{one.mean:+.3g}"
    intervals = (
        "" if ends is None else f"{ends[0]:+.3g} to {ends[1]:+.3g}"
        for ends in (one.over_seeds, one.over_rows)
    )
    why = f": {one.reason}" if one.verdict == "not measured" else ""
    return (one.loop, one.arm, mean, *intervals, f"{one.verdict}{why}")
