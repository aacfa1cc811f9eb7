"""Symbols and plain bits, and what is learned from them."""

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from tests.delta.plain.run import sure


def bucket_bits(bucket):
    return (bucket - 8) // 4 + 1 if bucket >= 8 else 0


def magnitude(bucket, bits=0):
    if bucket < 8:
        return bucket
    return (4 + (bucket - 8) % 4 << bucket_bits(bucket)) + bits


def power(ratio, exponent):
    result, square = 1 << 32, ratio
    while exponent > 0 and result > 0:
        if exponent % 2:
            result = result * square >> 32
        square, exponent = square * square >> 32, exponent // 2
    return result


@dataclass
class Family:
    symbols: int
    sizes: int
    variants: int
    one: int
    within: bool
    buckets: bool = True
    seen: int = 0
    counts: dict = field(default_factory=dict)  # (size, variant) -> list
    firsts: dict = field(default_factory=dict)

    @property
    def escape(self):
        return self.symbols - 1

    def count(self, size, variant):
        return self.counts.setdefault((size, variant), [0] * self.symbols)

    def first(self, size):
        """The weights of a size before anything was seen."""
        if size not in self.firsts:
            self.firsts[size] = self._first(size)
        return self.firsts[size]

    def _first(self, size):
        octave, odd = divmod(size - self.one, 2)
        p, q = (181, 128) if odd else (1, 1)
        p, q = (p << octave, q) if octave > 0 else (p, q << -octave)
        ratio = (p << 32) // (p + q)
        k = self.symbols - 1
        m = (k + 2) // 2 if self.within else k
        tails = [power(ratio, magnitude(i) if self.buckets else i) for i in range(m + 1)]
        heights = [(one - next_) * 512 >> 32 for one, next_ in pairwise(tails)]
        if self.within:
            heights = [heights[0], *(one // 2 for one in heights[1:] for _ in range(2))]
        return [*(one + 1 for one in heights[:k]), 1]

    def widths(self, context):
        size, variant = divmod(context, self.variants)
        weights = [256 * one for one in self.count(size, variant)]
        for beside in (size - 1, size + 1):
            if 0 <= beside < self.sizes:
                near = self.count(beside, variant)
                weights = [one + 32 * other for one, other in zip(weights, near, strict=True)]
        weights = [one + other for one, other in zip(weights, self.first(size), strict=True)]
        every = sum(weights)
        widths = [one * 4095 // every for one in weights]
        widths[self.escape] += 1
        widths[widths.index(max(widths))] += 4096 - sum(widths)
        return widths

    def saw(self, contexts, symbols):
        for context, symbol in zip(contexts, symbols, strict=True):
            self.count(*divmod(context, self.variants))[min(symbol, self.escape)] += 1
        self.seen += len(symbols)
        for key, found in self.counts.items():
            if sum(found) > 65_536:
                self.counts[key] = [one // 2 for one in found]


def families():
    return {
        "levels": Family(82, 40, 8, 18, within=True),
        "ulps": Family(158, 72, 1, 8, within=False),
        "direct": Family(82, 24, 1, 4, within=True),
        "tops": Family(252, 1, 1, 5, within=False, buckets=False),
        "scales": Family(82, 1, 1, 3, within=True),
        "factors": Family(82, 24, 1, 4, within=True),
    }


class Coder:
    def __init__(self, words, plain, lanes):
        self.words, self.plain, self.used = words, plain, 0
        self.states = [struct.unpack("<I", words.take(4))[0] for _ in range(lanes)]
        sure(all(state >= 65_536 for state in self.states), "state")
        self.families = families()

    def bits(self, count):
        number = 0
        sure(count <= 40, "plain bits of a number")
        for place in range(count):
            at, shift = divmod(self.used, 8)
            sure(at < len(self.plain.data), "plain bits")
            number |= (self.plain.data[at] >> shift & 1) << place
            self.used += 1
        return number

    def symbol(self, lane, widths):
        state = self.states[lane]
        slot, start, symbol = state % 4096, 0, 0
        while slot >= start + widths[symbol]:
            start, symbol = start + widths[symbol], symbol + 1
        state = widths[symbol] * (state >> 12) + slot - start
        if state < 65_536:
            state = (state << 16) + struct.unpack("<H", self.words.take(2))[0]
        self.states[lane] = state
        return symbol

    def call(self, name, contexts):
        family, found = self.families[name], []
        sure(self.states, "lanes")
        while len(found) < len(contexts):
            some = contexts[len(found) :][: min(max(256, family.seen), 65_536)]
            tables = {context: family.widths(context) for context in set(some)}
            block = [
                self.symbol(at % len(self.states), tables[context])
                for at, context in enumerate(some)
            ]
            block = [self.bits(12) if one == family.escape else one for one in block]
            family.saw(some, block)
            found += block
        return found

    def within(self, name, contexts):
        symbols = self.call(name, contexts)
        sizes = [self.large((one + 1) // 2) for one in symbols]
        return [size if symbol % 2 else -size for symbol, size in zip(symbols, sizes, strict=True)]

    def beside(self, name, contexts):
        sizes = [self.large(one) for one in self.call(name, contexts)]
        return [-size if size and self.bits(1) else size for size in sizes]

    def large(self, bucket):
        return magnitude(bucket, self.bits(bucket_bits(bucket)))

    def end(self):
        sure(all(state == 65_536 for state in self.states), "state at the end")
        last, rest = divmod(self.used, 8)
        if rest:
            sure(last < len(self.plain.data) and not self.plain.data[last] >> rest, "last byte")
        self.plain.place = last + bool(rest)
