"""``init``, ``validate``, ``schema`` and ``run``: a loop file, and the offline half of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeloop.cli.output import Format, FormatOption, aligned, show
from edgeloop.cli.steps import Steps
from edgeloop.loop.templates import FIRST, INSTALL

if TYPE_CHECKING:
    from edgeloop.loop.file import LoopFile
    from edgeloop.loop.runner import RunResult
    from edgeloop.plugins import Tracker
    from edgeloop.types import Finding

LoopPath = Annotated[Path, typer.Argument(help="The loop file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value, e.g. recipe.epochs=2", show_default=False)
]
KINDS = f"Which loop to start from: {', '.join(sorted({FIRST, *INSTALL}))}."


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (init, validate, schema, run):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    kind: Annotated[str, typer.Option(help=KINDS)] = FIRST,
    model: Annotated[
        Path | None, typer.Option("--from", help="Bring your own ONNX file; no recipe is needed.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A small .npz sample for --from: inputs and target.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write a loop file that runs as it is."""
    from edgeloop.loop.start import write_loop

    path = write_loop(folder, kind=kind, model=model, data=data)
    install = "" if model else INSTALL.get(kind, "")
    text = f"Wrote {path}. Next: edgeloop run {path}"
    if install:
        text = (
            f"Wrote {path}. It takes: {install}\nNext: edgeloop doctor {path}, edgeloop run {path}"
        )
    show({"loop": str(path), "install": install}, form, text)


def validate(
    loop: LoopPath = Path("loop.yaml"),
    overrides: Overrides = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check a loop file; every fault is named with its line."""
    from edgeloop.loop.file import load_loop

    checked = load_loop(loop, overrides or [])
    show({"valid": True, "name": checked.name}, form, f"{loop} is a valid loop of {checked.name}")


def schema(form: FormatOption = Format.JSON) -> None:
    """Print the JSON schema of loop files, with the plugins installed here."""
    from edgeloop.loop.schema import loop_schema

    show(loop_schema(), Format.JSON if form is Format.TEXT else form, "")


def run(
    loop: LoopPath = Path("loop.yaml"),
    overrides: Overrides = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Data to signed release: recipe, passes, checks, bundle. Only what changed runs."""
    from edgeloop.loop.file import load_loop
    from edgeloop.loop.runner import run_loop
    from edgeloop.store.artifacts import Store

    checked = load_loop(loop, overrides or [])
    store = Store(checked.path(checked.settings.store))
    with Steps() as steps:
        result = run_loop(
            checked, store, tracker=tracker_of(checked), progress=steps.progress, on_step=steps.step
        )
    show(_told(result), form, _summary(result))


def tracker_of(loop: LoopFile) -> Tracker:
    """The loop file's experiment tracker; a SQLite file in the store when it names none."""
    from edgeloop.recipes.tracking import MlflowTracker

    if loop.settings.track:
        return MlflowTracker(uri=loop.settings.track, experiment=loop.name)
    return MlflowTracker.in_file(loop.path(loop.settings.store) / "mlflow.sqlite", loop.name)


def _told(result: RunResult) -> dict[str, Any]:
    return {
        "release": result.release.model_dump(),
        "already_released": result.already,
        "newest_release": result.newest,
        "executed": result.executed,
        "steps": [
            {
                "name": step.name,
                "plugin": step.artifact.made_by.plugin,
                "artifact": step.artifact.digest,
                "executed": step.executed,
                "seconds": round(step.seconds, 3),
            }
            for step in result.steps
        ],
        "findings": [finding.to_meta() for finding in result.findings],
    }


HEADS = ("check", "verdict", "value", "95 % interval", "limit")


def _summary(result: RunResult) -> str:
    rows = [HEADS, *(_row(finding) for finding in result.findings)]
    ran = f"({result.executed} of {len(result.steps)} steps ran)"
    return "\n".join([*aligned(rows), f"{_released(result)} {ran}"])


def _row(finding: Finding) -> tuple[str, ...]:
    """One check; in the last column its limit, or why there is nothing to hold against one."""
    value = "" if finding.value is None else f"{finding.value:.6g} {finding.unit}".rstrip()
    interval = " to ".join(f"{end:.4g}" for end in finding.interval or ())
    told = (finding.limit, finding.reason) if finding.limit else (finding.reason or "none",)
    return (finding.title, finding.verdict, value, interval, ", ".join(filter(None, told)))


def _released(result: RunResult) -> str:
    release = result.release
    name = f"{release.version} of {release.channel}/{release.name}"
    if not result.already:
        return f"release {name}: {release.digest}"
    newer = f", whose newest is {result.newest}" if result.newest > release.version else ""
    return f"already released as {name}{newer}: {release.digest}"
