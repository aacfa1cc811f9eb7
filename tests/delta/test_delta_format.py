"""The format of a delta is what its page says: another decoder, written from it, gives the same."""

import ast
import functools
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from tests.delta import freeze_deltas
from tests.delta.freeze_deltas import FROZEN
from tests.delta.plain import decoder
from tests.delta.plain.plan import plan
from tests.delta.plain.run import BrokenError

from edgeloop.delta import families, header, listing, magnitudes, matrix, plain_bits, rans, sections
from edgeloop.delta import plan as plans
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.create import create_bytes
from edgeloop.delta.formats import FORMATS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "delta-format.md"
CASES = freeze_deltas.cases()
NAMES = sorted(CASES)
not_frozen = pytest.mark.skipif(not FROZEN.exists(), reason="version 1 is not frozen yet")


@functools.cache
def made(name):
    """The delta of a case as it would be made today."""
    return create_bytes(*CASES[name]).data


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_that_was_written_from_the_page_gives_the_same_files(name):
    old, new = CASES[name]
    assert decoder.apply(old, made(name)) == list(new)


def test_the_decoder_that_was_written_from_the_page_knows_nothing_of_ours():
    imported = set()
    for path in Path(decoder.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    ours = {one for one in imported if one.startswith("tests.delta.plain.")}
    standard = {"bz2", "dataclasses", "hashlib", "itertools", "lzma", "math", "struct"}
    assert imported - ours == standard


def test_that_decoder_forgets_half_of_what_it_has_seen_too():
    """More symbols of one context than a table remembers; then others, which count for more."""
    chance = np.random.default_rng(9)
    shapes = {"a": (253, 260), "b": (60, 260), "c": (20, 60)}
    old = {name: chance.integers(-60, 60, shape, np.int8) for name, shape in shapes.items()}
    new = {name: (chance.random(shape) < 0.05).astype(np.int8) for name, shape in shapes.items()}
    for name in ("b", "c"):
        new[name] *= chance.choice(np.array([-1, 1], np.int8), shapes[name])
    new = {name: old[name] + moved for name, moved in new.items()}
    delta = create_bytes([save(old)], [save(new)]).data
    assert [one.rows for one in plan(decoder.read(delta).sections["plan"])] == [253, 60, 20]
    assert decoder.apply([save(old)], delta) == [save(new)]


def test_each_bit_of_a_delta_counts_for_that_decoder_too():
    whole = made("blocks-q4_0")
    for place in range(0, 8 * len(whole), 11):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(BrokenError):
            decoder.apply(CASES["blocks-q4_0"][0], bytes(broken))


def test_the_cases_have_every_format_and_every_instruction():
    seen = {at for name in NAMES for at in marks(frozen(name))}
    assert seen == {
        *(("format", number) for number in range(len(FORMATS))),
        *(("how", one) for one in ("predicted", "alone", "by row", "by column")),
        ("how", "ranked"), ("how", "strided"),
        *(("ranked", one) for one in ("float32", "float16", "bfloat16", "int8")),
        *(("alone", one) for one in ("float32", "float16", "bfloat16", "int8")),
        *(("scaling", by) for by in range(3)), ("zero points",), ("inner",),
        *(("packing", number) for number in range(3)),
        *(("edit", kind) for kind in range(3)),
        *(("lanes", many) for many in (0, 1, 2)),
        *(("new files", many) for many in (1, 3)), ("no old file",),
    }  # fmt: skip


def frozen(name):
    """The delta that is kept, or until there is one, that of today."""
    path = FROZEN / name / "delta"
    return path.read_bytes() if path.exists() else made(name)


def marks(delta):
    """What a delta shows of the format."""
    told = decoder.read(delta)
    yield "lanes", min(told.lanes, 2)
    yield "new files", len(told.new)
    if not told.old:
        yield ("no old file",)
    ours = header.read(lambda at, count: delta[at : at + count], len(delta))
    for name in header.PACKED:
        if ours.sections[name].size:
            yield "packing", ours.sections[name].method
    entries = plan(told.sections["plan"])
    for entry in entries:
        yield from entry_marks(entry)
    left = sum(size for size, _ in told.new) - sum(one.rows * one.row_size for one in entries)
    while left:
        length, kind = divmod(told.sections["edits"].varint(), 3)
        yield "edit", kind
        left -= length
        if kind < 2:
            told.sections["edits"].signed()


def entry_marks(entry):
    number = decoder_formats().index(entry.form)
    yield "format", number
    for how in entry.hows:
        yield "how", "predicted" if how.predicted else "alone"
        told = {"by row": how.by_row, "by column": how.by_column, "ranked": how.rank,
                "strided": how.stride > 1}  # fmt: skip
        yield from (("how", name) for name, set_ in told.items() if set_)
        if how.rank:
            yield "ranked", FORMATS[number].name
    if entry.alone:
        yield "alone", FORMATS[number].name
    if entry.scaling is not None:
        yield "scaling", entry.scaling.by
        if entry.scaling.zeros:
            yield ("zero points",)
        if entry.scaling.inner > 1:
            yield ("inner",)


def decoder_formats():
    from tests.delta.plain.formats import FORMATS as THEIRS

    return THEIRS


# frozen


def files(name, side):
    return [path.read_bytes() for path in sorted((FROZEN / name).glob(f"{side}*"))]


@not_frozen
def test_no_frozen_delta_is_lost():
    assert sorted(path.name for path in FROZEN.iterdir()) == NAMES


@not_frozen
@pytest.mark.parametrize("name", NAMES)
def test_a_delta_that_was_ever_given_away_is_applied_for_ever(name):
    delta = (FROZEN / name / "delta").read_bytes()
    old, new = files(name, "old"), files(name, "new")
    assert apply_bytes(old, delta) == new
    assert decoder.apply(old, delta) == new


# the page


def page():
    """Its text, with letters that a keyboard has."""
    return PAGE.read_text().replace("\N{MULTIPLICATION SIGN}", "x")


def rows(head):
    """The cells of the table of the page that begins with ``head``."""
    lines = page().split("\n")
    first = lines.index(head) + 2
    last = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    return [tuple(cell.strip() for cell in line[1:-1].split("|")) for line in lines[first:last]]


def test_the_page_names_the_families_of_symbols():
    told = rows("| family | symbols | sizes | variants | one | signs | magnitudes |")
    names = ("levels", "ulps", "direct", "tops", "scales", "factors")
    assert told == [
        (
            name, str(one.symbols), str(one.sizes), str(one.variants), str(one.one),
            "within" if one.signed else "beside", "buckets" if one.octaves else "themselves",
        )
        for name, one in zip(names, families.FAMILIES, strict=True)
    ]  # fmt: skip


def test_the_page_names_the_formats():
    told = rows("| number | format | bytes of a block | fields |")
    assert told == [
        (str(number), one.name, str(one.size), "; ".join(map(field, one.fields)))
        for number, one in enumerate(FORMATS)
    ]


def field(one):
    if one.layout is not None:
        return f"{one.count} {one.layout.name}"
    many = "level" if one.count == 1 else "levels"
    return f"{one.count} {many} from {one.least} to {one.most}"


def test_the_page_names_the_settings_of_lzma():
    told = rows("| setting | lc | lp | pb |")
    assert told == [(str(number), *map(str, one)) for number, one in enumerate(sections.SETTINGS)]


def test_the_page_names_the_limits():
    told = dict(rows("| what | limit |"))
    assert told["lanes"].startswith(f"{rans.MOST_LANES:,};")
    assert told["old files, new files"].startswith(f"{header.MOST_FILES:,} each")
    assert told["size of a file"] == f"2^{header.MOST_BYTES.bit_length() - 1} bytes"
    assert told["entries"] == f"{plans.MOST_ENTRIES:,}"
    assert told["blocks in a row x numbers in a block"] == f"{matrix.CHUNK:,}"
    assert told["rows x blocks x numbers in a block"] == f"{plans.MOST_NUMBERS:,}"
    assert told["rows of an activity by row"] == f"{plans.MOST_LINES:,}"
    assert told["count of scales"] == f"{plans.MOST_LINES:,}"
    assert told["rank x (rows + columns) of a field"] == f"{plans.MOST_FACTORS:,}"
    assert told["plain bits of a number"] == f"{plain_bits.WIDEST}"
    window = (sections.SMALLEST_WINDOW, sections.LARGEST_WINDOW)
    assert told["LZMA2's dictionary"] == "2^{} to 2^{} bytes".format(*window)


def test_the_page_tells_the_other_numbers_of_the_code():
    text = page()
    octets = " ".join(f"{byte:02X}" for byte in header.MAGIC)
    assert f'| 3 | `{octets[:8]}`, "ELD" |\n| 1 | `{octets[9:]}`, the version |' in text
    assert f"`{listing.MAGIC}`" in text
    assert f"min(max({families.FIRST_BLOCK}, seen), {families.LARGEST_BLOCK})" in text
    beside = families.SEEN // families.BESIDE
    assert f"{families.SEEN} x count[z, v, y] + {beside} x count[z - 1, v, y]" in text
    assert f"x {families.EXPECTED}) // 2^32" in text
    assert f"add up to more than {families.MOST}: halve" in text
    assert f"below {magnitudes.EXACT} is its own bucket" in text
    assert f"`max(1, {matrix.CHUNK} // (blocks in a row x numbers in a block))`" in text


def test_expected_weights_never_fall_below_nothing():
    """A division that rounds down would make -1 of a little less than 0, and weights of 0."""
    for family in families.FAMILIES:
        assert families.first_weights(family).min() >= 1
