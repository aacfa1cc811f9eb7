"""Deltas of an enemy: refused for what they ask for, before any memory is taken for it."""

import tracemalloc

import numpy as np
import pytest
from tests.delta.hand_made import BY_ITSELF, OLD, PREDICTED, delta, entry

from edgeloop.delta import edits, header, plan
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.edits import ADD, COPY, LITERAL, Edit
from edgeloop.delta.matrix import How
from edgeloop.delta.plan import By, Scaling
from edgeloop.delta.sections import LZMA, Section, pack
from edgeloop.delta.varints import Packer
from edgeloop.errors import DeltaError

WITHIN = "must have its tensors within the old and the new files"
MOST_MEMORY = 16 << 20


def refused(made):
    """The whole text; little memory beside what the new files take."""
    tracemalloc.start()
    try:
        with pytest.raises(DeltaError) as fault:
            apply_bytes([OLD], made)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    return str(fault.value)


def numbers(*told):
    packer = Packer()
    for one in told:
        packer.number(one)
    return bytes(packer.data)


def scaled(**told):
    return entry(scaling=Scaling(by=By.ROW, old=0, new=0, **told))


def ranked(rank, exponent=0, **told):
    return entry(hows=[How(rank=rank, exponent=exponent)], **told)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([entry(new=60)], WITHIN),
        ([entry(new=-1)], WITHIN),
        ([entry(old=len(OLD))], WITHIN),
        ([entry(old=-1)], WITHIN),
        ([entry(old=(1 << 61) - 1, new=(1 << 61) - 1)] * 8, WITHIN),
        ([entry(rows=4, new=0), entry(rows=4, new=24)],
         "must have no tensors that overlap in the new files"),
        ([entry()] * 40_000, "must have no tensors that overlap in the new files"),
        ([entry(rows=0)], "must have no empty tensor in its plan"),
        ([entry(blocks=0)], "must have no empty tensor in its plan"),
        ([entry(rows=(1 << 22) + 1)], "must have a number of at most 4194304, got 4194305"),
        ([entry(rows=1 << 22, blocks=2)], "must have entries of at most 4194304 numbers"),
        ([entry(blocks=(1 << 16) + 1)], "must have a number of at most 65536, got 65537"),
        ([entry("float16", rows=1 << 19, blocks=1, hows=[How(by_row=True)])],
         "must have at most 262144 rows of their own, got 524288"),
        ([entry("q4_k", blocks=300, hows=[PREDICTED] * 5)],
         "must have rows of at most 65536 numbers, got 300"),
        ([ranked(9)], "must have factors thinner than their product, got 9"),
        ([ranked((1 << 15) + 1)], "must have at most 524288 factors, got 32769"),
        ([ranked(1, 2001)], "must have an exponent within 2000, got 2001"),
        ([scaled(count=0)], "must say for each line of a plain tensor which scale counts"),
        ([scaled(inner=0)], "must say for each line of a plain tensor which scale counts"),
        ([scaled(count=1 << 19)], "must have a number of at most 262144, got 524288"),
        ([scaled(count=1 << 18, first=(1 << 18) - 8)], "must stay within 1024 bytes, got 1048576"),
        ([entry(scaling=Scaling(by=By.ALL, old=-5, new=0))], "must stay within 1024 bytes, got -1"),
        ([entry(scaling=Scaling(by=By.ALL, old=0, new=0, zeros=(1 << 60, 0)))],
         "must stay within 1024 bytes, got 1152921504606846977"),
        ([entry("float32", rows=4, blocks=4, hows=[BY_ITSELF])],
         "must hold as many words as its symbols take. Fetch it again"),
    ],
)  # fmt: skip
def test_a_plan_that_asks_for_too_much_is_refused(entries, text):
    assert refused(delta(entries)) == f"[E408] delta {text}"


def test_a_plan_without_end_is_refused():
    assert refused(delta(plan=pack(numbers(1 << 16, 6, 1, 1) + bytes(1 << 16)))) == (
        "[E408] delta must have no empty tensor in its plan"
    )
    assert refused(delta(plan=numbers((1 << 16) + 1))) == (
        "[E408] delta must have a number of at most 65536, got 65537"
    )
    assert refused(delta(plan=plan.written([entry()])[:-1])) == (
        "[E408] delta must hold as many bytes as its plan takes"
    )


def test_tensors_without_lanes_are_refused():
    assert refused(delta([entry()], lanes=0)) == (
        "[E408] delta must make a file, and have lanes for its tensors"
    )


def test_words_that_hold_fewer_states_than_lanes_are_refused():
    assert refused(delta([entry()], lanes=4096, words=bytes(8))) == (
        "[E408] delta must hold 4096 states, got 8"
    )
    assert refused(delta([entry()], words=bytes(4))) == (
        "[E408] delta must have states of 65536 or more, got 0"
    )


def test_a_delta_of_no_files_is_refused():
    assert refused(delta(files=[])) == (
        "[E408] delta must make a file, and have lanes for its tensors"
    )


def test_files_larger_than_memory_are_refused_before_memory_is_taken():
    assert refused(delta(new=(1 << 32) + 1)) == (
        "[E408] delta must make at most 4294967296 bytes in memory, got 4294967297"
    )
    assert refused(delta(new=(1 << 48) + 1)) == (
        "[E408] delta must have a number of at most 281474976710656, got 281474976710657"
    )


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ([Edit(kind=LITERAL, length=65)], "must edit 1 to 64 bytes, got 65"),
        ([Edit(kind=COPY, length=0)], "must edit 1 to 64 bytes, got 0"),
        ([Edit(kind=COPY, length=64, old=961)], "must stay within 1024 bytes, got 1025"),
        ([Edit(kind=ADD, length=64, old=-1)], "must stay within 1024 bytes, got 63"),
        ([Edit(kind=COPY, length=1, old=1 << 60)],
         "must stay within 1024 bytes, got 1152921504606846977"),
        ([Edit(kind=ADD, length=64)], "must hold as many bytes as its plan takes"),
        ([Edit(kind=LITERAL, length=64)], "must hold as many bytes as its plan takes"),
        ([], "must hold as many bytes as its plan takes"),
    ],
)  # fmt: skip
def test_edits_beyond_the_gaps_are_refused(told, text):
    assert refused(delta(told=edits.written(told))) == f"[E408] delta {text}"


def test_a_stream_that_unpacks_to_more_than_is_asked_for_is_refused():
    bomb = pack(bytes(1 << 26))
    assert len(bomb[0]) < 1 << 16
    literal = edits.written([Edit(kind=LITERAL, length=64)])
    assert (
        refused(delta(told=literal, literals=bomb)) == "[E408] delta must end where its plan ends"
    )


def test_a_stream_that_is_not_packed_as_it_says_is_refused():
    broken = (b"\xff" * 99, Section(offset=0, size=99, method=LZMA))
    literal = edits.written([Edit(kind=LITERAL, length=64)])
    assert refused(delta(told=literal, literals=broken)) == (
        "[E408] delta must be packed as it says, got Corrupt input data"
    )


def test_sections_that_go_beyond_the_end_are_refused():
    longer = (b"", Section(offset=0, size=0))
    made = delta(literals=b"a" * 64, bits=longer) + b"more"
    made = made[:4] + header.hashlib.sha256(made[12:]).digest()[:8] + made[12:]
    assert refused(made) == f"[E408] delta must be {len(made) - 4} bytes long, got {len(made)}"


def test_numbers_of_more_plain_bits_than_any_number_has_are_refused():
    one = entry("int32", rows=256, blocks=1, hows=[BY_ITSELF])
    chance, said = np.random.default_rng(4), []
    for _ in range(40):  # any states and words; an escape among them takes the largest symbol
        words = chance.integers(1 << 16, 1 << 32, 4, dtype=np.int64).astype("<u4").tobytes()
        words += chance.bytes(4096)
        said.append(refused(delta([one], lanes=4, new=1024, words=words, bits=b"\xff" * 65536)))
    assert "[E408] delta must have numbers of at most 40 plain bits. Fetch it again" in said
