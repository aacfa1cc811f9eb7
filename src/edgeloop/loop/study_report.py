"""The report of a study: what was asked and found, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.loop import study_figures
from edgeloop.loop.report.page import page
from edgeloop.loop.report.section import Cell, Picture, Section, Table
from edgeloop.loop.report.words import counted, listed
from edgeloop.loop.study_result import (
    DIFFERS,
    NOT_MEASURED,
    NOT_SHOWN,
    Comparison,
    StudyResult,
)
from edgeloop.loop.study_statistics import Interval

LOOKS = {DIFFERS: "bad", NOT_MEASURED: "unsure"}
CAPTION = (
    "A dot is one seed, the line their mean. The broad bar is the 95 % interval over seeds, the"
    " thin one that over held-out rows; an arm differs when both leave out 0."
)
EACH_ALONE = (
    "Each interval stands for itself: of twenty comparisons of equal things, one leaves out 0 by"
    " chance."
)


def write_study_report(result: StudyResult, digest: str, path: Path) -> None:
    """One self-contained HTML file at ``path``; ``digest`` names the study's artifact.

    Raises:
        MissingExtraError: Jinja2 or Matplotlib is not installed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(result, digest), encoding="utf-8")


def render(result: StudyResult, digest: str) -> str:
    """The page; the same result gives the same text."""
    return page(
        kicker=f"Report of a study · {digest[7:19]}",
        heading=result.study,
        sentences=[result.question, *(sentence(one, result) for one in result.comparisons)],
        sections=[_differences(result), _values(result), _left_out(result), _made_of(result)],
    )


def sentence(one: Comparison, result: StudyResult) -> str:
    """One comparison in words."""
    head = f"{one.loop}, {one.arm} against {result.baseline}"
    if one.mean is None:
        return f"{head}: {one.verdict} ({one.reason})."
    found = f"Difference of {result.measure}: {difference(one)}; {one.reason}."
    return f"{head}: {one.verdict}. {found}"


def difference(one: Comparison) -> str:
    """``-0.0012 (-0.0030 to +0.0006 over 5 seeds, -0.005 to +0.003 over rows)``."""
    if one.mean is None:
        return ""
    parts = [f"{ends(one.over_seeds)} over {one.seeds} seeds"] if one.over_seeds else []
    parts += [f"{ends(one.over_rows)} over rows"] if one.over_rows else []
    unit = f" {one.unit}" if one.unit else ""
    return f"{one.mean:+.3g}{unit}" + (f" ({', '.join(parts)})" if parts else "")


def ends(interval: Interval | None) -> str:
    """``-0.003 to +0.001``; "" for none."""
    return "" if interval is None else f"{interval[0]:+.3g} to {interval[1]:+.3g}"


def _differences(result: StudyResult) -> Section:
    measured = [one for one in result.comparisons if one.mean is not None]
    many = {word: sum(c.verdict == word for c in result.comparisons) for word in _VERDICTS}
    said = listed([f"{count} {word}" for word, count in many.items() if count])
    rows = [
        (
            one.loop,
            one.arm,
            str(one.seeds),
            "" if one.mean is None else f"{one.mean:+.4g}",
            ends(one.over_seeds),
            ends(one.over_rows),
            Cell(text=one.verdict, look=LOOKS.get(one.verdict, "")),
            one.reason,
        )
        for one in result.comparisons
    ]
    heads = ("loop", "arm", "seeds", "difference", "over seeds", "over rows", "verdict", "because")
    pictures = [Picture(svg=study_figures.differences(result), caption=CAPTION)] if measured else []
    return Section(
        id="differences",
        title=f"Difference to {result.baseline}",
        lead=f"Of {counted(len(rows), 'comparison')}: {said}. {EACH_ALONE}",
        pictures=pictures,
        table=Table(columns=heads, rows=rows),
    )


_VERDICTS = (DIFFERS, NOT_SHOWN, NOT_MEASURED)


def _values(result: StudyResult) -> Section:
    rows = [
        (one.loop, one.arm, str(one.seeds), _figure(one.mean), _figure(one.deviation))
        for one in result.arms
    ]
    caption = "A dot is one seed, the line their mean."
    any_value = any(one.mean is not None for one in result.arms)
    pictures = [Picture(svg=study_figures.values(result), caption=caption)] if any_value else []
    return Section(
        id="values",
        title=f"{result.measure} by arm",
        lead=f"What each arm gives under {counted(len(_seeds(result)), 'seed')}.",
        pictures=pictures,
        table=Table(columns=("loop", "arm", "seeds", "mean", "standard deviation"), rows=rows),
    )


def _left_out(result: StudyResult) -> Section:
    rows = [(one.loop, one.arm, str(one.seed), one.reason) for one in result.not_measured]
    columns = ("loop", "arm", "seed", "because")
    return Section(
        id="not-measured",
        title="Not measured",
        lead=f"{counted(len(rows), 'value')} could not be measured, and are in no mean and no"
        " comparison."
        if rows
        else "Every value was measured.",
        table=Table(columns=columns, rows=rows) if rows else None,
    )


def _made_of(result: StudyResult) -> Section:
    rows = [
        (one.loop, one.arm, str(one.seed), _figure(one.value), one.finding[7:19])
        for one in result.points
    ]
    return Section(
        id="lineage",
        title="What it is made of",
        lead="Each value is a finding in the store, whose lineage tells what it came from.",
        table=Table(columns=("loop", "arm", "seed", result.measure, "finding"), rows=rows),
    )


def _seeds(result: StudyResult) -> Sequence[int]:
    return sorted({one.seed for one in result.points})


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
