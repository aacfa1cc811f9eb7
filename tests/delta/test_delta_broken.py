"""A delta that was cut short or changed anywhere is refused; nothing but DeltaError comes of it."""

import hashlib
from functools import cache

import numpy as np
import pytest
from tests.delta.tiny_models import safetensors

from edgeloop.delta import header
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.create import create_bytes
from edgeloop.errors import DeltaError

BEGIN = len(header.MAGIC) + header.CHECKED
STEP = 7  # bytes


@cache
def sample():
    """Old file, new file, and a delta of a few hundred bytes that has something of everything."""
    chance = np.random.default_rng(8)
    levels, reals = chance.integers(-90, 90, (48, 48)), chance.normal(0, 1, (16, 16))
    texts = chance.integers(0, 255, 120)
    files = []
    for moved in (0, 1):
        old_or_new = levels + moved * (chance.random(levels.shape) < 0.05)
        near = (reals * (1 + moved * chance.normal(0, 1e-4, reals.shape))).astype(np.float32)
        model = safetensors({
            "levels": ("int8", levels.shape, old_or_new.astype(np.int8).tobytes()),
            "reals": ("float32", reals.shape, near.tobytes()),
        })  # fmt: skip
        text = (texts + moved * (np.arange(120) % 40 == 0)).astype(np.uint8).tobytes()
        files.append(model + text + b"and something new" * moved)
    made = create_bytes(files[:1], files[1:])
    told = header.read(lambda at, count: made.data[at : at + count], len(made.data))
    assert all(told.sections[name].size for name in (*header.PACKED, *header.CODED))
    return *files, made.data


def refused(delta):
    with pytest.raises(DeltaError) as fault:
        apply_bytes([sample()[0]], delta)
    return str(fault.value)


def test_every_truncation_is_refused():
    delta = sample()[2]
    said = [refused(delta[:length]) for length in range(len(delta))]
    assert set(said[:BEGIN]) == {"[E408] delta must not end within its header. Fetch it again"}
    assert set(said[BEGIN:]) == {"[E408] delta must have the digest that it says. Fetch it again"}


def test_every_single_bit_that_is_flipped_is_refused():
    delta = sample()[2]
    said = []
    for place in range(8 * len(delta)):
        changed = bytearray(delta)
        changed[place // 8] ^= 1 << place % 8
        said.append(refused(bytes(changed)))
    assert said[0] == '[E408] delta must begin with "ELD", got 444c44'
    assert said[24] == "[E408] delta must be of version 1, got 00. Update"
    assert set(said[32:]) == {"[E408] delta must have the digest that it says. Fetch it again"}


def test_bytes_that_were_changed_by_one_who_mends_the_digest_make_no_other_file():
    old, new, delta = sample()
    chance, other = np.random.default_rng(9), 0
    for place in range(BEGIN, len(delta), STEP):
        changed = bytearray(delta)
        changed[place] ^= int(chance.integers(1, 256))
        changed[len(header.MAGIC) : BEGIN] = hashlib.sha256(changed[BEGIN:]).digest()[:8]
        try:
            assert apply_bytes([old], bytes(changed)) == [new]
        except DeltaError:
            other += 1
    assert other > 0.9 * len(range(BEGIN, len(delta), STEP))
