"""Which tensors a delta tells, and how."""

from dataclasses import dataclass

from tests.delta.plain.formats import FORMATS, Format
from tests.delta.plain.run import sure


@dataclass
class How:
    predicted: bool
    by_row: bool
    by_column: bool
    rank: int = 0
    exponent: int = 0
    stride: int = 1


@dataclass
class Scaling:
    by: int = 0
    count: int = 1
    inner: int = 1
    first: int = 0
    new: int = 0
    old: int = 0
    zeros: tuple = ()  # places: old, new


@dataclass
class Entry:
    form: Format
    rows: int
    blocks: int
    old: int
    new: int
    scaling: Scaling | None
    hows: list

    @property
    def row_size(self):
        return self.blocks * self.form.size

    @property
    def alone(self):
        return not any(how.predicted for how in self.hows)

    @property
    def spans(self):
        """In the old run, and in the new one."""
        size = self.rows * self.row_size
        return (self.old, self.old + (0 if self.alone else size)), (self.new, self.new + size)


def plan(run):
    if not run.data:
        return []
    entries, old, new, scale = [], 0, 0, 0
    for _ in range(run.varint(65_536)):
        number, scaling = run.varint(2 * len(FORMATS) - 1), None
        form = FORMATS[number // 2]
        rows, blocks = run.varint(), run.varint()
        old, new = old + run.signed(), new + run.signed()
        if number % 2:
            scaling = read_scaling(run, scale)
            scale = scaling.new
        hows = [read_how(run) for _ in form.fields]
        entry = Entry(form, rows, blocks, old, new, scaling, hows)
        check(entry)
        entries.append(entry)
        (_, old), (_, new) = entry.spans
    return entries


def read_scaling(run, scale):
    number, found = run.varint(5), Scaling()
    found.by = number // 2
    if found.by:
        found.count, found.inner, found.first = run.varint(262_144), run.varint(), run.varint()
    sure(found.count and found.inner, "scaling")
    found.new = scale + run.signed()
    found.old = found.new + run.signed()
    if number % 2:
        found.zeros = (found.old + run.signed(), found.new + run.signed())
    return found


def read_how(run):
    flags = run.varint(31)
    how = How(bool(flags & 1), bool(flags & 2), bool(flags & 4))
    if flags & 8:
        how.rank, how.exponent = run.varint(), run.signed()
    if flags & 16:
        how.stride = run.varint(256)
        sure(how.stride, "stride")
    return how


def check(entry):
    numbers = entry.blocks * entry.form.numbers
    sure(entry.rows and entry.blocks, "empty tensor")
    sure(numbers <= 65_536 and entry.rows * numbers <= 4_194_304, "too large")
    sure(entry.scaling is None or entry.form.plain, "scaling of blocks")
    for how, one in zip(entry.hows, entry.form.fields, strict=True):
        columns = entry.blocks * one.count
        sure(not how.by_row or entry.rows <= 262_144, "rows")
        sure(how.rank <= min(entry.rows, columns), "rank")
        sure(how.rank * (entry.rows + columns) <= 524_288, "factors")
        sure(abs(how.exponent) <= 2000, "exponent")
