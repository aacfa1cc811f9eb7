"""How the numbers of a block lie in its bytes, and what its levels stand for."""

import math
import struct
from dataclasses import dataclass


@dataclass
class Float:
    width: int
    mantissa: int
    bias: int
    count: int = 1

    @property
    def magnitude(self):
        return (1 << (self.width - 1)) - 1

    def value(self, pattern):
        """Whatever it stands for, also infinite or not a number."""
        if self is BFLOAT16:
            return FLOAT32.value(pattern << 16)
        kinds = {32: ("<I", "<f"), 16: ("<H", "<e")}[self.width]
        return struct.unpack(kinds[1], struct.pack(kinds[0], pattern))[0]

    def finite(self, pattern):
        value = self.value(pattern)
        return value if math.isfinite(value) else 0.0

    def nearest(self, value):
        """The pattern of the nearest number."""
        if self is BFLOAT16:
            pattern = FLOAT32.nearest(value)
            return (pattern + 0x7FFF + ((pattern >> 16) & 1)) >> 16
        kinds = {32: ("<I", "<f"), 16: ("<H", "<e")}[self.width]
        try:
            packed = struct.pack(kinds[1], value)
        except OverflowError:
            packed = struct.pack(kinds[1], math.copysign(math.inf, value))
        return struct.unpack(kinds[0], packed)[0]

    def ordered(self, pattern):
        size = pattern & self.magnitude
        return -1 - size if pattern > self.magnitude else size

    def pattern(self, ordered):
        return (-1 - ordered) | (self.magnitude + 1) if ordered < 0 else ordered


FLOAT32, FLOAT16, BFLOAT16 = Float(32, 23, 127), Float(16, 10, 15), Float(16, 7, 127)


@dataclass
class Level:
    least: int
    most: int
    count: int = 1


@dataclass
class Format:
    """``unpack`` gives a block's fields, ``pack`` takes them; ``meaning`` is of a level."""

    size: int
    fields: tuple
    unpack: object
    pack: object
    meaning: object = None

    @property
    def plain(self):
        return len(self.fields) == 1

    @property
    def numbers(self):
        return sum(one.count for one in self.fields)


def plain(kind, one):
    def unpack(block):
        return [list(struct.unpack(kind, block))]

    return Format(
        struct.calcsize(kind), (one,), unpack, lambda fields: struct.pack(kind, *fields[0])
    )


def half(block, place=0):
    return list(struct.unpack_from("<H", block, place))


def halves(*patterns):
    return b"".join(struct.pack("<H", *one) for one in patterns)


def nibbles(run):
    return [byte & 15 for byte in run] + [byte >> 4 for byte in run]


def joined(levels):
    middle = len(levels) // 2
    return bytes(
        low | high << 4 for low, high in zip(levels[:middle], levels[middle:], strict=True)
    )


def signed_bytes(run):
    return list(struct.unpack(f"{len(run)}b", run))


def real(fields, at):
    return FLOAT16.finite(fields[at][0])


def q4_k_unpack(b):
    s, n, levels = [0] * 8, [0] * 8, [0] * 256
    for j in range(4):
        s[j], n[j] = b[4 + j] & 63, b[8 + j] & 63
        s[4 + j] = (b[12 + j] & 15) + 16 * (b[4 + j] >> 6)
        n[4 + j] = (b[12 + j] >> 4) + 16 * (b[8 + j] >> 6)
    for g in range(4):
        levels[64 * g : 64 * g + 64] = nibbles(b[16 + 32 * g : 48 + 32 * g])
    return [half(b), half(b, 2), s, n, levels]


def q4_k_pack(fields):
    s, n, levels = fields[2:]
    first = bytes(s[j] | (s[4 + j] >> 4) << 6 for j in range(4))
    second = bytes(n[j] | (n[4 + j] >> 4) << 6 for j in range(4))
    third = bytes(s[4 + j] & 15 | (n[4 + j] & 15) << 4 for j in range(4))
    rest = b"".join(joined(levels[64 * g : 64 * g + 64]) for g in range(4))
    return halves(fields[0], fields[1]) + first + second + third + rest


def q4_k_meaning(fields, at, i):
    if at < 4:
        return real(fields, at - 2), 0.0
    scale = real(fields, 0) * fields[2][i // 32]
    return scale, -(real(fields, 1) * fields[3][i // 32])


def q6_k_places():
    """Of each level: its number, byte and shift of its lower bits, and of its upper ones."""
    for h in range(2):
        for k in range(4):
            for j in range(32):
                low = 64 * h + 32 * (k % 2) + j, 4 * (k // 2)
                yield 128 * h + 32 * k + j, *low, 128 + 32 * h + j, 2 * k


def q6_k_unpack(b):
    levels = [0] * 256
    for level, low, shift, high, other in q6_k_places():
        levels[level] = ((b[low] >> shift) & 15) + 16 * ((b[high] >> other) & 3)
    return [half(b, 208), signed_bytes(b[192:208]), levels]


def q6_k_pack(fields):
    b = bytearray(192)
    for level, low, shift, high, other in q6_k_places():
        b[low] |= (fields[2][level] & 15) << shift
        b[high] |= (fields[2][level] >> 4) << other
    return bytes(b) + struct.pack("16b", *fields[1]) + halves(fields[0])


def q6_k_meaning(fields, at, i):
    if at == 1:
        return real(fields, 0), 0.0
    scale = real(fields, 0) * fields[1][i // 16]
    return scale, -32 * scale


FORMATS = (
    plain("<I", FLOAT32),
    plain("<H", FLOAT16),
    plain("<H", BFLOAT16),
    plain("<b", Level(-128, 127)),
    plain("<B", Level(0, 255)),
    plain("<i", Level(-(2**31), 2**31 - 1)),
    Format(
        34, (FLOAT16, Level(-128, 127, 32)),
        lambda b: [half(b), signed_bytes(b[2:])],
        lambda fields: halves(fields[0]) + struct.pack("32b", *fields[1]),
        lambda fields, _at, _i: (real(fields, 0), 0.0),
    ),
    Format(
        18, (FLOAT16, Level(0, 15, 32)),
        lambda b: [half(b), nibbles(b[2:])],
        lambda fields: halves(fields[0]) + joined(fields[1]),
        lambda fields, _at, _i: (real(fields, 0), -8 * real(fields, 0)),
    ),
    Format(
        20, (FLOAT16, FLOAT16, Level(0, 15, 32)),
        lambda b: [half(b), half(b, 2), nibbles(b[4:])],
        lambda fields: halves(fields[0], fields[1]) + joined(fields[2]),
        lambda fields, _at, _i: (real(fields, 0), real(fields, 1)),
    ),
    Format(
        144, (FLOAT16, FLOAT16, Level(0, 63, 8), Level(0, 63, 8), Level(0, 15, 256)),
        q4_k_unpack, q4_k_pack, q4_k_meaning,
    ),
    Format(
        210, (FLOAT16, Level(-128, 127, 16), Level(0, 63, 256)),
        q6_k_unpack, q6_k_pack, q6_k_meaning,
    ),
)  # fmt: skip
