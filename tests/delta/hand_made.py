"""Deltas made by hand, with a right digest, that ask for what no encoder of ours asks for."""

import hashlib

import numpy as np

from edgeloop.delta import edits, header, plan, rans
from edgeloop.delta.edits import LITERAL, Edit
from edgeloop.delta.formats import BY_NAME
from edgeloop.delta.grid import Grid
from edgeloop.delta.matrix import How
from edgeloop.delta.plan import Entry
from edgeloop.delta.sections import Section

OLD = bytes(range(256)) * 4
BY_ITSELF, PREDICTED = How(predicted=False), How()


def file(data, digest):
    return header.File(size=len(data), sha256=hashlib.sha256(data).digest()[:digest])


def entry(form="int8", rows=8, blocks=8, old=0, new=0, hows=(PREDICTED,), scaling=None):
    grid = Grid(format=BY_NAME[form], rows=rows, blocks=blocks)
    return Entry(grid=grid, old=old, new=new, hows=tuple(hows), scaling=scaling)


def packed(stream):
    """A stream as it is, unless it is already packed."""
    if isinstance(stream, tuple):
        return stream
    return stream, Section(offset=0, size=len(stream))


def delta(entries=(), told=None, literals=b"", differences=b"", new=64, **rest):
    """``rest``: lanes, words, bits, files (headers of new ones), plan and edits as bytes."""
    lanes = rest.get("lanes", 1)
    if told is None:
        told = edits.written([Edit(kind=LITERAL, length=len(literals))] if literals else [])
    streams = (
        rest.get("plan", plan.written(entries) if entries else b""), told, literals, differences,
        rest.get("words", np.full(lanes, rans.LOWEST, dtype="<u4").tobytes()),
        rest.get("bits", b""),
    )  # fmt: skip
    files = rest.get("files", [header.File(size=new, sha256=bytes(32))])
    return header.written(
        lanes, [file(OLD, header.KNOWN)], files, [packed(stream) for stream in streams]
    )
