"""The numbers of a tensor, from those of the old one."""

import math
import struct
from dataclasses import dataclass

from tests.delta.plain.formats import Float
from tests.delta.plain.run import clip, sure


@dataclass
class Side:
    rows: list
    columns: list
    left: list = ()  # columns of numbers
    right: list = ()
    exponent: int = 0

    def activity(self, row, column):
        rows, columns = self.rows, self.columns
        return rows[row if len(rows) > 1 else 0] + columns[column if len(columns) > 1 else 0]

    def change(self, row, column):
        parts = zip(self.left, self.right, strict=True)
        whole = sum(left[row] * right[column] for left, right in parts)
        return math.ldexp(whole, self.exponent) if self.left else 0.0


def side(coder, how, rows, columns):
    found = Side(
        running(coder.within("scales", [0] * (rows if how.by_row else 1))),
        running(coder.within("scales", [0] * (columns if how.by_column else 1))),
    )
    if how.rank:
        found.left, found.right = (factor(coder, count, how.rank) for count in (rows, columns))
        found.exponent = how.exponent
    return found


def running(steps):
    sums = []
    for step in steps:
        sums.append(step + (sums[-1] if sums else 0))
    return sums


def factor(coder, lines, rank):
    shifts = coder.within("scales", [0] * rank)
    sizes = coder.within("scales", [0] * rank)
    contexts = [clip(size + 4, 0, 23) for size in sizes for _ in range(lines)]
    numbers = coder.within("factors", contexts)
    columns = [numbers[at * lines : (at + 1) * lines] for at in range(rank)]
    return [
        [one << clip(shift, 0, 40) for one in column]
        for shift, column in zip(shifts, columns, strict=True)
    ]


def tensor(coder, entry, before, after):
    fields = entry.form.fields
    sides = [
        side(coder, how, entry.rows, entry.blocks * one.count)
        for how, one in zip(entry.hows, fields, strict=True)
    ]
    meanings = scaled(entry, before, after)
    step = max(1, 65_536 // (entry.blocks * entry.form.numbers))
    for first in range(0, entry.rows, step):
        rows = range(first, min(first + step, entry.rows))
        chunk = Chunk(entry, rows, old_blocks(entry, rows, before), meanings)
        for at in range(len(fields)):
            chunk.field(coder, at, sides[at])
        raw = b"".join(entry.form.pack(block) for block in chunk.new)
        place = entry.new + first * entry.row_size
        after[place : place + len(raw)] = raw


def old_blocks(entry, rows, before):
    size = entry.form.size
    places = range(rows.start * entry.blocks * size, rows.stop * entry.blocks * size, size)
    if entry.alone:
        return [entry.form.unpack(bytes(size)) for _ in places]
    return [entry.form.unpack(before[entry.old + at : entry.old + at + size]) for at in places]


def scaled(entry, before, after):
    """Scale and offset of each of the scaling's lines, in the old run and in the new one."""
    told = entry.scaling
    if told is None:
        return None
    zeros = told.zeros or (None, None)
    return [
        lines(entry, run, place, zero)
        for run, place, zero in ((before, told.old, zeros[0]), (after, told.new, zeros[1]))
    ]


def lines(entry, run, place, zero):
    count, size = entry.scaling.count, entry.form.size
    sure(0 <= place <= place + 4 * count <= len(run), "scales")
    scales = struct.unpack_from(f"<{count}f", run, place)
    if zero is None:
        return [(scale, 0.0) for scale in scales]
    sure(0 <= zero <= zero + size * count <= len(run), "zero points")
    points = [entry.form.unpack(run[zero + at * size :][:size])[0][0] for at in range(count)]
    return [(scale, -point * scale) for scale, point in zip(scales, points, strict=True)]


class Chunk:
    """Some rows of an entry; ``new`` has for each block the fields that are decoded."""

    def __init__(self, entry, rows, old, meanings):
        self.entry, self.rows, self.old, self.meanings = entry, rows, old, meanings
        self.new = [[] for _ in old]

    def field(self, coder, at, beside):
        """Decode one field of all blocks."""
        one, how = self.entry.form.fields[at], self.entry.hows[at]
        places = [
            (row, column) for row in self.rows for column in range(self.entry.blocks * one.count)
        ]
        old = [number for block in self.old for number in block[at]]
        told = (coder, how, [beside.activity(*place) for place in places])
        change = [beside.change(*place) for place in places]
        if isinstance(one, Float):
            found = floats(*told, one, old, change)
        else:
            means = [self.means(at, *place) for place in places] if how.predicted else []
            found = levels(*told, one, old, change, means)
        for number, block in enumerate(self.new):
            block.append(found[number * one.count : (number + 1) * one.count])

    def means(self, at, row, column):
        """Scale and offset of an old level, then of the new one."""
        form, told = self.entry.form, self.entry.scaling
        if not form.plain:
            block, i = divmod(column, form.fields[at].count)
            block += (row - self.rows.start) * self.entry.blocks
            return *form.meaning(self.old[block], at, i), *form.meaning(self.new[block], at, i)
        if told is None:
            return 1.0, 0.0, 1.0, 0.0
        line = (0, row, column)[told.by]
        which = (told.first + line) // told.inner % told.count
        return *self.meanings[0][which], *self.meanings[1][which]


def levels(coder, how, activity, one, old, change, means):
    if not how.predicted:
        return coder.within("direct", [clip(size + 4, 0, 23) for size in activity])
    contexts, nears = [], []
    for level, (a, b, c, e), moved, size in zip(old, means, change, activity, strict=True):
        number = quotient((level * a + b) + moved - e, c)
        number = clip(0.0 if math.isnan(number) else number, one.least, one.most)
        near = round(number)
        nearness = clip(math.floor((number - near + 0.5) * 8), 0, 7)
        nears.append(near)
        contexts.append(clip(size + 18, 0, 39) * 8 + nearness)
    steps = coder.within("levels", contexts)
    return [near + how.stride * step for near, step in zip(nears, steps, strict=True)]


def quotient(number, divisor):
    """As IEEE 754 has it, also by 0."""
    if divisor:
        return number / divisor
    if number == 0 or math.isnan(number):
        return math.nan
    return math.inf * math.copysign(1, number) * math.copysign(1, divisor)


def floats(coder, how, activity, one, old, change):
    if not how.predicted:
        return by_itself(coder, activity, one)
    nears = [near(one, pattern, moved, how) for pattern, moved in zip(old, change, strict=True)]
    contexts = []
    for pattern, size in zip(nears, activity, strict=True):
        exponent = max((pattern & one.magnitude) >> one.mantissa, 1)
        contexts.append(clip(size - 2 * (exponent - one.bias - one.mantissa) + 8, 0, 71))
    steps = coder.beside("ulps", contexts)
    return [
        one.pattern(clip(one.ordered(pattern) + step, -one.magnitude - 1, one.magnitude))
        for pattern, step in zip(nears, steps, strict=True)
    ]


def near(one, old, change, how):
    if not how.rank or (old & one.magnitude) >> one.mantissa == 2 * one.bias + 1:
        return old
    return one.nearest(one.finite(old) + change)


def by_itself(coder, activity, one):
    low = one.mantissa - 2
    middles = [clip(2 * size + 4 * one.bias, 0, one.magnitude >> low) for size in activity]
    symbols = coder.call("tops", [0] * len(middles))
    tops = [
        middle + (symbol + 1) // 2 if symbol % 2 else middle - symbol // 2
        for symbol, middle in zip(symbols, middles, strict=True)
    ]
    rests = [coder.bits(low) for _ in tops]
    signs = [coder.bits(1) for _ in tops]
    return [
        clip((top << low) + rest, 0, one.magnitude) | sign << (one.width - 1)
        for top, rest, sign in zip(tops, rests, signs, strict=True)
    ]
