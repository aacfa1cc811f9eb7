"""The section of what checks saw: every picture in their evidence, whatever it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgeloop.loop.report import seen_figures
from edgeloop.loop.report.evidence import Bars, Lines, Matrix, Saw
from edgeloop.loop.report.evidence import Picture as Evidence
from edgeloop.loop.report.facts import Facts
from edgeloop.loop.report.section import Picture, Row, Section, Table, release
from edgeloop.loop.report.words import counted

TITLE = "What the checks saw"
BESIDE = 3  # releases in one picture
MOST_WORDS = 5  # cells or bars of one picture in the table

Panels = Mapping[int, Evidence]  # version -> what the same check saw of that release


def section(facts: Facts) -> Section:
    """Each picture of the newest release that has any, beside those of the releases before it."""
    unread, with_pictures = _unread(facts), [one for one in facts.releases if one.saw]
    if not with_pictures:
        lead = f"No check left a picture in its evidence.{unread}"
        return Section(id="seen", title=TITLE, lead=lead)
    newest = with_pictures[-1]
    drawn = [(one, _panels(facts, one)) for one in newest.saw]
    pictures = [
        Picture(svg=seen_figures.draw(number, panels), caption=_caption(one))
        for number, (one, panels) in enumerate(drawn)
    ]
    lead = f"{counted(len(drawn), 'picture')} in the evidence of release {newest.version}"
    if len(with_pictures) > 1:
        lead += f", beside those of up to {BESIDE - 1} releases before"
    if len(with_pictures) > BESIDE:
        lead += "; older ones are left out"
    columns = ("release", "check", "picture", "part", "value")
    rows = [row for one, panels in drawn for row in _rows(one, panels)]
    return Section(
        id="seen",
        title=TITLE,
        lead=f"{lead}.{unread}",
        pictures=pictures,
        table=Table(columns=columns, rows=rows),
    )


def _unread(facts: Facts) -> str:
    told = [f"{why} (release {one.version})" for one in facts.releases for why in one.unread]
    if not told:
        return ""
    return f" {counted(len(told), 'picture')} cannot be drawn: {'; '.join(told[:MOST_WORDS])}."


def _panels(facts: Facts, newest: Saw) -> dict[int, Evidence]:
    """By version; of a matrix too wide for a third of the page, the newest alone."""
    same = {
        one.version: saw.picture
        for one in facts.releases
        for saw in one.saw
        if saw.about == newest.about
    }
    wide = isinstance(newest.picture, Matrix) and newest.picture.wide
    return dict(sorted(same.items())[-1 if wide else -BESIDE :])


def _caption(one: Saw) -> str:
    title = one.picture.title
    return f"{title[0].upper()}{title[1:]}; by the check {one.check}."


def _rows(one: Saw, panels: Panels) -> Iterator[Row]:
    for version, picture in panels.items():
        for part, value in told(picture):
            yield (release(version), one.check, picture.title, part, value)


def told(picture: Evidence) -> Sequence[tuple[str, str]]:
    """What stands out in a picture, in words: part and value."""
    if isinstance(picture, Matrix):
        return _largest(picture)
    return _bars(picture) if isinstance(picture, Bars) else _lines(picture)


def _largest(matrix: Matrix) -> list[tuple[str, str]]:
    """The largest cells; where rows and columns are of the same things, of two unlike ones."""
    cells = [
        (f"{row} (down), {column} (across)", value)
        for row, values in zip(matrix.rows, matrix.cells, strict=True)
        for column, value in zip(matrix.columns, values, strict=True)
        if value > 0 and not (matrix.square and row == column)
    ]
    largest = sorted(cells, key=lambda cell: -cell[1])[:MOST_WORDS]
    return [(part, f"{value:g}") for part, value in largest]


def _bars(bars: Bars) -> list[tuple[str, str]]:
    """The lowest and the highest of many, else all, in the order of the picture."""
    found = list(zip(bars.names, bars.values, strict=True))
    if len(found) > 2 * MOST_WORDS:
        order = sorted(found, key=lambda bar: bar[1])
        kept = [*order[:MOST_WORDS], *order[-MOST_WORDS:]]
        found = [bar for bar in found if bar in kept]
    return [(name, f"{value:.4g} {bars.unit}".rstrip()) for name, value in found]


def _lines(lines: Lines) -> list[tuple[str, str]]:
    """The range of each line."""
    known = {
        name: [value for value in values if value is not None]
        for name, values in lines.lines.items()
    }
    return [
        (name, f"{min(values):.4g} to {max(values):.4g}")
        for name, values in known.items()
        if values
    ]
