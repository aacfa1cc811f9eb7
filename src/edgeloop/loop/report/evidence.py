"""Pictures that checks left in their evidence: JSON that anybody's plugin may have written.

A picture is a ``matrix``, ``bars`` or ``lines``; what it is about stands in its own words alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.types import Finding, Json

CLOSED = ConfigDict(extra="forbid")
MOST_PICTURES = 20  # of one finding; what is behind is left out
MOST_NAMES = 100  # rows, columns or bars that can be read on a page
MOST_LINES = 8
WIDE = 12  # more names of a matrix cannot be read in a third of the page
MOST_POINTS = 5_000  # of one line
Word = Annotated[str, Field(max_length=200)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Word, ...], Field(max_length=MOST_NAMES)]
Numbers = Annotated[tuple[FiniteFloat, ...], Field(max_length=MOST_POINTS)]
Points = Annotated[tuple[FiniteFloat | None, ...], Field(max_length=MOST_POINTS)]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Matrix:
    """A number for each pair of names, ``cells[row][column]``."""

    kind: Literal["matrix"]
    title: Title
    rows: Names
    columns: Names
    cells: Annotated[tuple[Numbers, ...], Field(max_length=MOST_NAMES)]

    @model_validator(mode="after")
    def _fits(self) -> Matrix:
        if [len(row) for row in self.cells] != [len(self.columns)] * len(self.rows):
            raise ValueError(f"must have {len(self.rows)} rows of {len(self.columns)} cells")
        return self

    @property
    def square(self) -> bool:
        """Whether a row and a column of one name are of the same thing."""
        return self.rows == self.columns

    @property
    def wide(self) -> bool:
        """Whether it needs the page for itself."""
        return max(len(self.rows), len(self.columns)) > WIDE

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.rows or not self.columns


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Bars:
    """A number for each name."""

    kind: Literal["bars"]
    title: Title
    names: Names
    values: Numbers
    unit: Word = ""

    @model_validator(mode="after")
    def _fits(self) -> Bars:
        if len(self.values) != len(self.names):
            raise ValueError(f"must have {len(self.names)} values, one per name")
        return self

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.names


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Lines:
    """Numbers over ``x``; None is a gap."""

    kind: Literal["lines"]
    title: Title
    x: Numbers
    lines: Annotated[dict[Word, Points], Field(min_length=1, max_length=MOST_LINES)]
    x_name: Word = ""
    y_name: Word = ""

    @model_validator(mode="after")
    def _fits(self) -> Lines:
        if any(len(values) != len(self.x) for values in self.lines.values()):
            raise ValueError(f"must have {len(self.x)} values in each line, one per x")
        return self

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.x


Picture = Matrix | Bars | Lines
READER: TypeAdapter[Picture] = TypeAdapter(Annotated[Picture, Field(discriminator="kind")])


@dataclass(frozen=True, kw_only=True)
class Saw:
    """What one check saw."""

    check: str
    picture: Picture

    @property
    def about(self) -> tuple[str, str, str]:
        """The same for what the same check saw of another release."""
        return (self.check, self.picture.kind, self.picture.title)


def read(findings: Sequence[Finding]) -> tuple[tuple[Saw, ...], tuple[str, ...]]:
    """Each picture once, whatever number of checks left it; and of the others, why not.

    One in which there is nothing is neither.
    """
    seen: list[Saw] = []
    broken: list[str] = []
    for finding in findings:
        for number, told in enumerate(_told(finding), start=1):
            try:
                picture = READER.validate_python(told)
            except ValidationError as fault:
                broken.append(f"number {number} of {finding.check}, {_why(fault)}")
                continue
            if not picture.empty and all(picture != one.picture for one in seen):
                seen.append(Saw(check=finding.check, picture=picture))
    return tuple(seen), tuple(broken)


def _told(finding: Finding) -> list[Json]:
    """The pictures; what is no list is one that cannot be read."""
    told = finding.evidence.get("pictures", [])
    return told[:MOST_PICTURES] if isinstance(told, list) else [told]


def _why(fault: ValidationError) -> str:
    """The first fault: where, and the rule."""
    first = fault.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'picture'}: {first['msg'].removeprefix('Value error, ')}"
