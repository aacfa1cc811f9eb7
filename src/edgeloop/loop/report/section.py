"""What a page is made of: sections, each with pictures and the same figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.loop.report.canvas import release_variable

VERDICTS = {"pass": "good", "fail": "bad", "not measured": "unsure", "yes": "good", "no": "bad"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table. ``look`` is a class of the page: good, bad, unsure, or a release."""

    text: str
    look: str = ""


Row = Sequence[Cell | str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of text."""

    columns: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An SVG element, and what to see in it."""

    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the report; without pictures and table, ``lead`` says why."""

    id: str
    title: str
    lead: str
    pictures: Sequence[Picture] = ()
    table: Table | None = None


def release(version: int | None) -> Cell:
    """A release by its number and colour."""
    if version is None:
        return Cell(text="none")
    return Cell(text=f"release {version}", look=release_variable(version))


def verdict(text: str) -> Cell:
    """A word with its colour."""
    return Cell(text=text, look=VERDICTS.get(text, ""))
