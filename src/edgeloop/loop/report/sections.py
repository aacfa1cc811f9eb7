"""The sections of a report: for each a sentence, pictures, and the same figures as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgeloop.loop.report import figures, seen, variants
from edgeloop.loop.report.facts import (
    Facts,
    Lane,
    Mark,
    Promise,
    Sent,
    Training,
)
from edgeloop.loop.report.section import (
    VERDICTS,
    Cell,
    Picture,
    Row,
    Section,
    Table,
    release,
    verdict,
)
from edgeloop.loop.report.words import (
    clock,
    counted,
    lasted,
    limit,
    listed,
    measured,
    percent,
    size,
    without_value,
)

MOST_LANES = 40  # in one picture; what failed comes first


def sections(facts: Facts, extra: Mapping[str, str]) -> list[Section]:
    """Every section, in order; that of variants where a release has some."""
    several = any(one.variants for one in facts.releases)
    makers: tuple[Callable[[Facts], Section], ...] = (
        _checks,
        *((variants.section,) if several else ()),
        _declared,
        _training,
        seen.section,
        _rollouts,
        _quality,
        _drift,
        _sent,
        _lineage,
    )
    closing = [_extra(extra)] if extra else []
    return [*(make(facts) for make in makers), *closing]


def _checks(facts: Facts) -> Section:
    title = "Checks against limits"
    if not any(one.checks for one in facts.releases):
        return Section(id="checks", title=title, lead="No release with checks is in the store.")
    rows = [
        (release(one.version), line.check, verdict(line.verdict), measured(line), limit(line))
        for one in facts.releases
        for line in one.checks
    ]
    lines = [line for one in facts.releases for line in one.checks]
    passed = sum(line.verdict == "pass" for line in lines)
    caption = "A dot is the value, a thick line its 95 % interval, the dashed line the limit."
    return Section(
        id="checks",
        title=title,
        lead=f"{passed} of {len(rows)} gates passed{without_value(lines)}; a release goes out only"
        " when all of its do.",
        pictures=(Picture(svg=figures.checks(facts.releases), caption=caption),),
        table=Table(columns=("release", "check", "verdict", "measured", "limit"), rows=rows),
    )


def _declared(facts: Facts) -> Section:
    title = "What each release declared"
    rows = [
        (
            release(one.version),
            said.profile,
            str(said.rows),
            _differs(said),
            ", ".join(f"{name} {mean:.3f}" for name, mean in said.claims.items()),
        )
        for one in facts.releases
        for said in one.declared
    ]
    if not rows:
        return Section(id="declared", title=title, lead="No release is in the store.")
    return Section(
        id="declared",
        title=title,
        lead="Measured offline for each population of inputs; devices hold the field against it.",
        table=Table(
            columns=("release", "inputs like", "rows", "differs from the one before", "claims"),
            rows=rows,
        ),
    )


def _differs(said: Promise) -> str:
    return "nothing before it" if said.disagreement is None else percent(said.disagreement)


def _training(facts: Facts) -> Section:
    title = "Training"
    curved = [one for one in facts.trainings if one.curves]
    if not curved:
        return Section(
            id="training", title=title, lead="No recipe step with curves made a release."
        )
    pictures = [Picture(svg=figures.curves(one), caption=_trained(one)) for one in curved]
    rows = [
        (
            one.digest[7:19],
            name.replace("_", " "),
            str(len(curve)),
            f"{curve[0]:.4g}",
            f"{min(curve):.4g}",
            f"{max(curve):.4g}",
            f"{curve[-1]:.4g}",
        )
        for one in curved
        for name, curve in one.curves.items()
    ]
    columns = ("model", "curve", "epochs", "first", "lowest", "highest", "last")
    return Section(
        id="training",
        title=title,
        lead=f"{counted(len(curved), 'recipe step')} made the models of {_of(curved)}.",
        pictures=pictures,
        table=Table(columns=columns, rows=rows),
    )


def _trained(one: Training) -> str:
    how = "fine-tuned" if one.fine_tuned else "trained"
    return f"{one.plugin}, {how} for {_of([one])} (model {one.digest[7:19]})."


def _of(trainings: Sequence[Training]) -> str:
    versions = sorted({version for one in trainings for version in one.releases})
    return f"{'release' if len(versions) == 1 else 'releases'} {listed([str(v) for v in versions])}"


def _rollouts(facts: Facts) -> Section:
    title = "Rollouts, device by device"
    if not any(lane.spans for lane in facts.lanes):
        return Section(id="rollouts", title=title, lead="No device has reported yet.")
    shown = _shown(facts.lanes)
    rest = len(facts.lanes) - len(shown)
    left_out = f" {counted(rest, 'quieter device')} are not drawn." if rest else ""
    caption = (
        "Bars above are rollouts. A lane's colour is the release that the device runs, the stripe"
        " in it the one that it fetches or tries; a cross is an update that ended badly; the dotted"
        " line is where a trigger fired."
    )
    rows = [
        (
            str(one.id),
            release(one.version),
            one.state,
            clock(one.began - facts.began),
            lasted((one.ended or facts.ended) - one.began),
            f"{one.offered} of {one.devices}",
            str(one.succeeded),
            one.reason,
        )
        for one in facts.rollouts
    ]
    columns = (
        "rollout",
        "release",
        "state",
        "began",
        "lasted",
        "offered to",
        "succeeded",
        "reason",
    )
    return Section(
        id="rollouts",
        title=title,
        lead=_went(facts) + left_out,
        pictures=(Picture(svg=figures.timeline(facts, shown), caption=caption),),
        table=Table(columns=columns, rows=rows),
    )


def _went(facts: Facts) -> str:
    marks: list[Mark] = [mark for lane in facts.lanes for mark in lane.marks]
    bad = "no update ended badly" if not marks else f"{counted(len(marks), 'update')} ended badly"
    return f"{counted(len(facts.rollouts), 'rollout')}; {bad}."


def _shown(lanes: Sequence[Lane]) -> list[Lane]:
    """As many lanes as one picture holds, those with marks first, in their old order."""
    chosen = sorted(lanes, key=lambda lane: -len(lane.marks))[:MOST_LANES]
    return [lane for lane in lanes if lane in chosen]


def _quality(facts: Facts) -> Section:
    title = f"{facts.measure[0].upper()}{facts.measure[1:]} in the field"
    if not facts.quality:
        lead = "No answers were confirmed by people, so it was not measured."
        return Section(id="quality", title=title, lead=lead)
    from edgeloop.loop.report.story import turn

    lead = (
        " ".join(turn(one, facts.measure) for one in facts.turns)
        or "No trigger led to a new release."
    )
    caption = (
        f"Mean {facts.measure} of confirmed answers, with its 95 % interval; a shaded stretch is"
        " where the group's devices switched to another release."
    )
    sums: dict[tuple[str, int], tuple[int, float]] = {}
    for point in facts.quality:
        many, good = sums.get((point.group, point.version), (0, 0.0))
        sums[point.group, point.version] = (many + point.confirmed, good + point.quality)
    rows = [
        (group, release(version), str(many), percent(good / many))
        for (group, version), (many, good) in sorted(sums.items())
    ]
    return Section(
        id="quality",
        title=title,
        lead=lead,
        pictures=(Picture(svg=figures.quality(facts), caption=caption),),
        table=Table(
            columns=("group", "release", "confirmed", f"{facts.measure}, all the time"), rows=rows
        ),
    )


def _drift(facts: Facts) -> Section:
    title = "Drift of the inputs"
    if not facts.drift:
        return Section(id="drift", title=title, lead="Too few signals came home to judge drift.")
    caption = (
        "Population stability index of each input feature (grey) and of the one that moved most,"
        " against the nearest profile that travelled in the bundle."
        f" {counted(facts.features, 'feature')} beyond"
        f" {facts.limit:g} are drift."
    )
    return Section(
        id="drift",
        title=title,
        lead=_fired(facts),
        pictures=(Picture(svg=figures.drift(facts), caption=caption),),
        table=Table(
            columns=(
                "group",
                "release",
                "highest psi",
                "feature",
                "nearest profile",
                "at",
                "newest psi",
            ),
            rows=_drifted(facts),
        ),
    )


def _fired(facts: Facts) -> str:
    words = {"alarm": "was alarmed", "waiting": "waited for a rollout", "fired": "fired"}
    told = [
        f"At {clock(one.time - facts.began)} the trigger of {one.group} {words[one.action]}."
        for one in facts.triggers
        if one.action in words
    ]
    return " ".join(told) or "No trigger fired."


def _drifted(facts: Facts) -> list[Row]:
    rows: list[Row] = []
    for group, version in sorted({(point.group, point.version) for point in facts.drift}):
        own = [p for p in facts.drift if (p.group, p.version) == (group, version)]
        top = max(own, key=lambda point: point.psi[point.worst])
        feature = top.worst.removeprefix("input.")
        newest = own[-1].psi[own[-1].worst]
        rows.append(
            (
                group,
                release(version),
                f"{top.psi[top.worst]:.2f}",
                feature,
                top.profile,
                clock(top.time - facts.began),
                f"{newest:.2f}",
            )
        )
    return rows


def _sent(facts: Facts) -> Section:
    title = "Bytes sent"
    broken = (
        f" {counted(facts.unread, 'line')} of the log could not be read." if facts.unread else ""
    )
    if not facts.sent:
        return Section(id="sent", title=title, lead="There is no log of the blob server." + broken)
    total = sum(one.bytes for one in facts.sent)
    devices = list(dict.fromkeys(one.device for one in facts.sent))
    largest = sorted(devices, key=lambda d: -sum(s.bytes for s in facts.sent if s.device == d))
    drawn = [device for device in devices if device in largest[:MOST_LANES]]
    caption = (
        "What each device fetched; metadata is the signed list and what vouches for it. A release's"
        " own blobs are those that no other release has, the deltas that lead to it among them."
    )
    saved = sum(one.saved for one in facts.sent)
    less = f" Deltas took {size(saved)} less than the files that they made." if saved else ""
    columns = (
        "release",
        "bundle",
        "devices",
        "fetched its own blobs",
        "bytes",
        "blobs",
        "blobs they had",
        "saved by deltas",
    )
    return Section(
        id="sent",
        title=title,
        lead=f"{size(total)} to {counted(len(devices), 'device')}.{less}{broken}",
        pictures=(Picture(svg=figures.sent(facts, drawn), caption=caption),),
        table=Table(columns=columns, rows=_sent_rows(facts)),
    )


def _sent_rows(facts: Facts) -> list[Row]:
    rows: list[Row] = []
    for one in facts.releases:
        got = [s for s in facts.sent if s.version == one.version]
        rows.append(
            (
                release(one.version),
                size(one.size),
                str(_devices(got, "fetched")),
                str(_devices(got, "own")),
                size(sum(s.bytes for s in got)),
                str(sum(s.fetched for s in got)),
                str(sum(s.had for s in got)),
                size(sum(s.saved for s in got)),
            )
        )
    rest = [s for s in facts.sent if s.version is None]
    total = size(sum(s.bytes for s in rest))
    return [*rows, ("signed metadata", "", "", "", total, "", "", "")]


def _devices(lines: Sequence[Sent], what: str) -> int:
    return sum(bool(getattr(one, what)) for one in lines)


def _lineage(facts: Facts) -> Section:
    title = "Lineage of the newest release"
    if not facts.lineage:
        return Section(id="lineage", title=title, lead="There is no release yet.")
    rows = [(node.kind, node.title, node.detail) for node in facts.lineage]
    return Section(
        id="lineage",
        title=title,
        lead="Data, steps and checks that it came from; each box is an artifact in the store.",
        pictures=(
            Picture(
                svg=figures.lineage(facts.lineage),
                caption="An arrow that follows from others is left out.",
            ),
        ),
        table=Table(columns=("kind", "made by", "artifact"), rows=rows),
    )


def _extra(extra: Mapping[str, str]) -> Section:
    rows = [(name, *_judged(value)) for name, value in extra.items()]
    good = sum(cell.look == "good" for _, cell, _ in rows)
    lead = f"{good} of {counted(len(rows), 'point')} happened, each judged by what was recorded."
    table = Table(columns=("point", "happened", "what was recorded"), rows=rows)
    return Section(id="closing", title="Closing table", lead=lead, table=table)


def _judged(value: str) -> tuple[Cell, str]:
    """``yes: 8 devices`` as a verdict and what was recorded; anything else as it is."""
    word, _, recorded = value.partition(": ")
    return (verdict(word), recorded) if word in VERDICTS else (Cell(text=value), "")
