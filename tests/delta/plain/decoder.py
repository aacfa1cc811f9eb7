"""A second decoder of deltas, from docs/reference/delta-format.md alone, slow and without NumPy.

It guards the page and the format: what it gives must be what edgeloop gives. Nothing in this folder
imports anything of edgeloop, and it must stay so.
"""

import bz2
import hashlib
import lzma
from dataclasses import dataclass

from tests.delta.plain.coder import Coder
from tests.delta.plain.plan import plan
from tests.delta.plain.run import Run, sure
from tests.delta.plain.tensor import tensor

SECTIONS = ("plan", "edits", "literals", "differences", "words", "bits")
SETTINGS = ((3, 0, 2), (0, 2, 0), (1, 1, 1), (4, 0, 0))


@dataclass
class Delta:
    lanes: int
    old: list  # of (size, beginning of the digest)
    new: list  # of (size, digest)
    sections: dict


def read(data):
    sure(data[:4] == b"ELD\x01", "magic")
    sure(hashlib.sha256(data[12:]).digest()[:8] == data[4:12], "digest")
    run = Run(data, 12)
    lanes = run.varint(4096)
    old = [(run.varint(2**48), run.take(8)) for _ in range(run.varint(4096))]
    new = [(run.varint(2**48), run.take(32)) for _ in range(run.varint(4096))]
    packings = [packing(run, packed=at < 4) for at in range(6)]
    sure(new and (lanes or not packings[0][0]), "new files and lanes")
    streams = [unpacked(run.take(size), *how) for size, *how in packings]
    run.end()
    return Delta(lanes, old, new, dict(zip(SECTIONS, map(Run, streams), strict=True)))


def packing(run, *, packed):
    size = run.varint()
    if not size or not packed:
        return size, 0
    method = run.varint(2)
    if method < 2:
        return size, method
    setting, window = run.varint(3), run.varint(22)
    sure(window >= 12, "dictionary")
    return size, method, setting, window


def unpacked(data, method, setting=0, window=12):
    if method == 0:
        return data
    if method == 1:
        return bz2.decompress(data)
    names = zip(("lc", "lp", "pb"), SETTINGS[setting], strict=True)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << window, **dict(names)}]
    return lzma.decompress(data, lzma.FORMAT_RAW, filters=filters)


def apply(old, data):
    """The new files that a delta makes of old ones, all in memory."""
    delta = read(data)
    old = old if delta.old else []
    told = [(len(file), hashlib.sha256(file).digest()[:8]) for file in old]
    sure(told == delta.old, "old files")
    sections = delta.sections
    entries = plan(sections["plan"])
    before = b"".join(old)
    after = bytearray(sum(size for size, _ in delta.new))
    edit(sections, entries, before, after)
    coder = Coder(sections["words"], sections["bits"], delta.lanes)
    for entry in entries:
        tensor(coder, entry, before, after)
    coder.end()
    sure(all(run.place == len(run.data) for run in sections.values()), "something is left")
    return split(bytes(after), delta.new)


def split(run, told):
    files, place = [], 0
    for size, digest in told:
        files.append(run[place : place + size])
        sure(hashlib.sha256(files[-1]).digest() == digest, "new file")
        place += size
    return files


def gaps(spans, size):
    """The places that no span covers, in order."""
    reached, found = 0, []
    for first, last in sorted(spans):
        sure(0 <= first <= last <= size, "tensor's place")
        found += range(reached, first)
        reached = max(reached, last)
    return [*found, *range(reached, size)]


def edit(sections, entries, before, after):
    old = gaps([entry.spans[0] for entry in entries if not entry.alone], len(before))
    places = gaps([entry.spans[1] for entry in entries], len(after))
    tensors = sum(entry.rows * entry.row_size for entry in entries)
    sure(len(places) + tensors == len(after), "tensors that overlap")
    literals, differences = sections["literals"], sections["differences"]
    done = at = 0
    while done < len(places):
        length, kind = divmod(sections["edits"].varint(), 3)
        sure(0 < length <= len(places) - done, "length of an edit")
        if kind == 2:
            made = literals.take(length)
        else:
            at += sections["edits"].signed()
            sure(0 <= at <= at + length <= len(old), "old bytes of an edit")
            made = bytes(before[place] for place in old[at : at + length])
            at += length
        if kind == 1:
            more = differences.take(length)
            made = bytes((one + other) % 256 for one, other in zip(made, more, strict=True))
        for place, byte in zip(places[done : done + length], made, strict=True):
            after[place] = byte
        done += length
