"""What others make of an update: each peer a delta from old and new, and the way back.

``fits`` judges the decoder at its best, not the package at hand: what it must hold beside the old
file, which it may read anywhere, and the new file, which it writes from front to back; so a row is
rather lost to a peer than won by a rule.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from delta.forms import Place
from delta.sources import Array

MEMORY = 16 * 2**20  # bytes that a decoder may hold
CHUNK, LEAST, MOST = 2**16, 2**14, 2**18  # bytes of a content-defined chunk
REACH = 32  # bytes that decide whether a chunk ends behind them
LONGEST = 27  # log2 of the long window


@dataclass(frozen=True, kw_only=True)
class Files:
    """Old and new file, where their tensors lie, and which form they have."""

    form: str
    old: bytes
    new: bytes
    old_places: tuple[Place, ...] = field(default=())
    new_places: tuple[Place, ...] = field(default=())


class AbsentError(Exception):
    """A peer does not do this; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """``delta`` gives what travels, ``back`` the new file of it; ``held`` bytes while decoding."""

    name: str
    delta: Callable[[Files], bytes]
    back: Callable[[Files, bytes], bytes]  # reads the old file alone
    held: Callable[[Files], int]


def size(peer: Peer, files: Files) -> int:
    """Bytes of a peer's delta, which gave the new file back.

    Raises:
        AbsentError: it is not installed, does not take such files, or did not give them back.
    """
    try:
        made = peer.delta(files)
        given = peer.back(files, made)
    except ImportError as error:
        raise AbsentError(f"{error.name} is not installed") from error
    if given != files.new:
        raise AbsentError("did not give the same bytes back")
    return len(made)


def _zstd(level: int, old: bytes = b"", *, back: bool, data: bytes) -> bytes:
    import zstandard

    raw = zstandard.DICT_TYPE_RAWCONTENT
    known = zstandard.ZstdCompressionDict(old, dict_type=raw) if old else None
    if back:
        reader = zstandard.ZstdDecompressor(dict_data=known, max_window_size=2**LONGEST)
        return reader.decompress(data)
    if not old:
        return zstandard.ZstdCompressor(level=level).compress(data)
    far = zstandard.ZstdCompressionParameters.from_level(level, window_log=LONGEST, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=far, dict_data=known).compress(data)


def _bsdiff(files: Files) -> bytes:
    import bsdiff4

    return bsdiff4.diff(files.old, files.new)


def _bspatch(files: Files, made: bytes) -> bytes:
    import bsdiff4

    return bsdiff4.patch(files.old, made)


def _xdelta(files: Files) -> bytes:
    return _by_program(["-e", "-9", "-S", "lzma", "-W", "8388608"], files.old, files.new)


def _by_program(options: Sequence[str], old: bytes, given: bytes) -> bytes:
    if shutil.which("xdelta3") is None:
        raise AbsentError("Debian's xdelta3 is not installed")
    with tempfile.TemporaryDirectory() as folder:
        was, told, made = (Path(folder) / name for name in ("old", "in", "out"))
        was.write_bytes(old)
        told.write_bytes(given)
        line = ["xdelta3", *options, "-B", str(2**26), "-f", "-A", "-s", was, told, made]
        subprocess.run(line, check=True, capture_output=True)
        return made.read_bytes()


def _hdiff(files: Files) -> bytes:
    import hdiffpatch

    packers = [
        hdiffpatch.Lzma2Config(level=9, window=22),
        hdiffpatch.ZStdConfig(level=22, window=22),
        hdiffpatch.BZip2Config(level=9),
    ]
    return min((hdiffpatch.diff(files.old, files.new, one) for one in packers), key=len)


def _hpatch(files: Files, made: bytes) -> bytes:
    import hdiffpatch

    return hdiffpatch.apply(files.old, made)


def _zipnn(files: Files, *, back: bool, made: bytes = b"") -> bytes:
    """The better of the new file alone and of its XOR with the old one, where lengths agree."""
    import zipnn

    kinds = {"fp32": "float32", "fp32 onnx": "float32", "fp16": "float16"}
    kind = kinds.get(files.form, "bfloat16")

    def tried(*, xor: bool) -> bytes:
        packer = zipnn.ZipNN(
            input_format="byte",
            bytearray_dtype=kind,
            threads=1,
            delta_compressed_type="byte" if xor else 0,
        )
        other = {"delta_second_data": bytearray(files.old)} if xor else {}
        if back:
            return bytes(packer.decompress(bytearray(made[1:]), **other))
        return bytes([xor]) + bytes(packer.compress(bytearray(files.new), **other))  # copies

    if back:
        return tried(xor=bool(made[0]))
    both = [False, True] if len(files.old) == len(files.new) else [False]
    return min((tried(xor=xor) for xor in both), key=len)


def _z4ai(files: Files) -> bytes:
    import z4ai
    from z4ai import model_delta

    if len(files.old) != len(files.new):  # its delta takes no other
        return b"n" + z4ai.compress(files.new)
    whole = z4ai.compress_delta(files.new, reference=files.old)
    if not files.form.startswith(("fp", "bf")) or files.form.endswith("onnx"):
        return b"w" + whole
    return min(b"w" + whole, b"s" + model_delta.compress(files.new, files.old), key=len)


def _z4ai_back(files: Files, made: bytes) -> bytes:
    import z4ai
    from z4ai import model_delta

    if made[:1] == b"n":
        return bytes(z4ai.decompress(made[1:]))
    if made[:1] == b"w":
        return bytes(z4ai.decompress_delta(made[1:], reference=files.old))
    return bytes(model_delta.decompress(made[1:], files.old))


# BitX and NNC tell tensors apart: those that both files have are coded against each other, all else
# with the old file as dictionary; where they lie is told too.


def _shared(files: Files) -> list[tuple[int, int, int, int]]:
    """Offset in old, offset in new, bytes and width of each tensor that both have."""
    before = {one.name: one for one in files.old_places}
    both = [(before.get(one.name), one) for one in files.new_places]
    return [
        (was.offset, one.offset, one.size, one.width)
        for was, one in both
        if was is not None and (was.size, was.width) == (one.size, one.width)
    ]


def _rest(file: bytes, told: Sequence[Sequence[int]]) -> bytes:
    """What lies between the tensors of the new file."""
    ends = [0, *(at + size for _, at, size, _ in told)]
    starts = [*(at for _, at, _, _ in told), len(file)]
    return b"".join(file[end:start] for end, start in zip(ends, starts, strict=True))


def _packed(files: Files, told: list[tuple[int, int, int, int]], streams: list[bytes]) -> bytes:
    """Places, the rest, the tensors' streams; each behind its length."""
    head = _zstd(19, back=False, data=json.dumps(told).encode())
    rest = _zstd(22, files.old, back=False, data=_rest(files.new, told))
    return b"".join(len(one).to_bytes(4, "little") + one for one in (head, rest, *streams))


def _unpacked(files: Files, made: bytes) -> tuple[list[tuple[int, int, int, int]], list[bytes]]:
    """Places; the rest, then the tensors' streams."""
    parts, at = [], 0
    while at < len(made):
        length = int.from_bytes(made[at : at + 4], "little")
        parts.append(made[at + 4 : at + 4 + length])
        at += 4 + length
    told = [tuple(one) for one in json.loads(_zstd(19, back=True, data=parts[0]))]
    return told, [_zstd(22, files.old, back=True, data=parts[1]), *parts[2:]]


def _joined(told: Sequence[Sequence[int]], rest: bytes, tensors: Sequence[bytes]) -> bytes:
    """The new file: the rest, with the tensors where they lie."""
    made, taken = bytearray(), 0
    for (_, at, _, _), tensor in zip(told, tensors, strict=True):
        gap = at - len(made)
        made += rest[taken : taken + gap] + tensor
        taken += gap
    return bytes(made + rest[taken:])


def _bitx(files: Files) -> bytes:
    """XOR with the old tensors, one plane for each byte of a number, zstd -19 over each plane."""
    told = _shared(files)
    streams = []
    for width in sorted({width for *_, width in told}):
        apart = [
            np.frombuffer(files.old, np.uint8, size, was).reshape(-1, width)
            ^ np.frombuffer(files.new, np.uint8, size, at).reshape(-1, width)
            for was, at, size, own in told
            if own == width
        ]
        planes = np.concatenate(apart).T
        streams += [_zstd(19, back=False, data=one.tobytes()) for one in _merged(planes)]
    return _packed(files, told, streams)


def _merged(planes: Array) -> list[Array]:
    """Planes of numbers; of a block, its scale's two and the rest as one, in its own order."""
    if len(planes) <= 4:
        return list(planes)
    return [planes[0], planes[1], np.ascontiguousarray(planes[2:].T)]


def _bitx_back(files: Files, made: bytes) -> bytes:
    told, (rest, *streams) = _unpacked(files, made)
    tensors: dict[int, bytes] = {}
    for width in sorted({width for *_, width in told}):
        count = width if width <= 4 else 3
        parts = [np.frombuffer(_zstd(19, back=True, data=s), np.uint8) for s in streams[:count]]
        streams = streams[count:]
        columns = [one.reshape(len(parts[0]), -1) for one in parts]
        rows = np.concatenate(columns, axis=1).reshape(-1)
        for was, at, size, own in told:
            if own == width:
                old = np.frombuffer(files.old, np.uint8, size, was)
                tensors[at], rows = (old ^ rows[:size]).tobytes(), rows[size:]
    return _joined(told, rest, [tensors[at] for _, at, _, _ in told])


def _numbers(file: bytes, at: int, size: int, width: int) -> Array:
    """int32 in the order of what they mean: levels, or patterns of 16-bit floats."""
    if width == 1:
        return np.frombuffer(file, np.int8, size, at).astype(np.int32)
    bits = np.frombuffer(file, np.uint16, size // 2, at).astype(np.int32)
    return np.where(bits & 0x8000, 0x7FFF - bits, bits)


def _bytes_of(numbers: Array, width: int) -> bytes:
    if width == 1:
        return numbers.astype(np.int8).tobytes()
    return np.where(numbers < 0, 0x7FFF - numbers, numbers).astype(np.uint16).tobytes()


def _nnc(files: Files) -> bytes:
    """DeepCABAC, NNC's coder, over the differences of whole numbers: lossless."""
    from nncodec.extensions import deepCABAC

    told = _shared(files)
    if {width for *_, width in told} - {1, 2}:
        raise AbsentError("codes levels: lossless over int8 and 16-bit patterns alone")
    streams = []
    for was, at, size, width in told:
        change = _numbers(files.new, at, size, width) - _numbers(files.old, was, size, width)
        coder, off = deepCABAC.Encoder(), deepCABAC.HdspMode.TensorOff
        coder.initCtxModels(10, 1)
        none = np.zeros(1, np.int32)
        coder.encodeLayer(change[None], 0, 0, 1, 0, 0, none, off, np.ones(0, np.int8), 0, 0)
        streams.append(coder.finish().tobytes())
    return _packed(files, told, streams)


def _nnc_back(files: Files, made: bytes) -> bytes:
    from nncodec.extensions import deepCABAC

    told, (rest, *streams) = _unpacked(files, made)
    tensors = []
    for (was, _, size, width), stream in zip(told, streams, strict=True):
        coder, off = deepCABAC.Decoder(), deepCABAC.HdspMode.TensorOff
        coder.setStream(np.frombuffer(stream, np.uint8).copy())
        coder.initCtxModels(10)
        old = _numbers(files.old, was, size, width)
        change = np.zeros((1, len(old)), np.int32)
        coder.decodeLayer(change, 0, 0, 1, 0, off, np.ones(0, np.int8), 0, 0)
        tensors.append(_bytes_of(old + change[0], width))
    return _joined(told, rest, tensors)


def _chunks(file: bytes) -> Iterator[bytes]:
    """Content-defined chunks of about 64 KiB: FastCDC's gear hash over the last 32 bytes."""
    gear = np.random.default_rng(0).integers(0, 2**32, 256, dtype=np.uint32)
    each = gear[np.frombuffer(file, np.uint8)]
    hashed = np.zeros_like(each)
    for back in range(REACH):
        hashed[back:] += each[: len(each) - back] << np.uint32(back)
    ends = np.flatnonzero(hashed < np.uint32(2**32 // CHUNK)) + 1
    at = 0
    while at < len(file):
        fine = ends[(ends >= at + LEAST) & (ends <= at + MOST)]
        end = int(fine[0]) if len(fine) else min(at + MOST, len(file))
        yield file[at:end]
        at = end


def _chunked(files: Files) -> bytes:
    """Each chunk as its digest's 8 bytes, those that are new with themselves, zstd -19."""
    known = {_digest(one) for one in _chunks(files.old)}
    made = bytearray()
    for one in _chunks(files.new):
        body = b"" if _digest(one) in known else _zstd(19, back=False, data=one)
        made += _digest(one) + len(body).to_bytes(4, "little") + body
        known.add(_digest(one))
    return bytes(made)


def _unchunked(files: Files, made: bytes) -> bytes:
    known = {_digest(one): one for one in _chunks(files.old)}
    given, at = bytearray(), 0
    while at < len(made):
        name, length = made[at : at + 8], int.from_bytes(made[at + 8 : at + 12], "little")
        if length:
            known[name] = _zstd(19, back=True, data=made[at + 12 : at + 12 + length])
        given += known[name]
        at += 12 + length
    return bytes(given)


def _digest(chunk: bytes) -> bytes:
    return hashlib.sha256(chunk).digest()[:8]


def _widest(files: Files) -> int:
    """Bytes of the largest tensor."""
    return max((one.size for one in files.new_places), default=0)


WINDOW_19 = 8 * 2**20  # bytes, of zstd -19
PEERS: tuple[Peer, ...] = (
    Peer(
        name="full",
        delta=lambda files: files.new,
        back=lambda _, made: made,
        held=lambda _: 0,
    ),
    Peer(
        name="zstd -19",
        delta=lambda files: _zstd(19, back=False, data=files.new),
        back=lambda _, made: _zstd(19, back=True, data=made),
        held=lambda files: min(WINDOW_19, len(files.new)),
    ),
    Peer(
        name="xz -9e",
        delta=lambda files: lzma.compress(files.new, preset=9 | lzma.PRESET_EXTREME),
        back=lambda _, made: lzma.decompress(made),
        held=lambda files: len(files.new),  # a dictionary of that size would do
    ),
    Peer(
        name="bsdiff4",
        delta=_bsdiff,
        back=_bspatch,
        held=lambda _: 3 * 3_700_000,  # three bzip2 decoders
    ),
    Peer(
        name="xdelta3",
        delta=_xdelta,
        back=lambda files, made: _by_program(["-d"], files.old, made),
        held=lambda files: min(2**23, len(files.new)),  # a window of the target
    ),
    Peer(
        name="zstd -22 patch",
        delta=lambda files: _zstd(22, files.old, back=False, data=files.new),
        back=lambda files, made: _zstd(22, files.old, back=True, data=made),
        held=lambda files: len(files.old) + len(files.new),  # its window reaches over both
    ),
    Peer(name="HDiffPatch", delta=_hdiff, back=_hpatch, held=lambda _: 3 * 2**22),
    Peer(
        name="BitX",
        delta=_bitx,
        back=_bitx_back,
        held=lambda files: min(WINDOW_19, len(files.new)),
    ),
    Peer(
        name="ZipNN",
        delta=lambda files: _zipnn(files, back=False),
        back=lambda files, made: _zipnn(files, back=True, made=made),
        held=lambda _: 2**20,
    ),
    Peer(
        name="z4ai",
        delta=_z4ai,
        back=_z4ai_back,
        held=lambda files: 2 * len(files.new),  # whole planes, and what they are joined to
    ),
    Peer(name="NNC", delta=_nnc, back=_nnc_back, held=lambda files: 4 * _widest(files)),
    Peer(name="chunks 64 KiB", delta=_chunked, back=_unchunked, held=lambda _: MOST),
)
