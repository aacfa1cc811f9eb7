"""Bytes in order, numbers among them, and what is done when a rule is broken."""

from dataclasses import dataclass


class BrokenError(Exception):
    """The delta breaks a rule of the page."""


def sure(rule, what):
    if not rule:
        raise BrokenError(what)


def clip(number, least, most):
    return min(max(number, least), most)


@dataclass
class Run:
    """Bytes that are read from the beginning to the end."""

    data: bytes
    place: int = 0

    def take(self, count):
        found = self.data[self.place : self.place + count]
        sure(len(found) == count, "ends too early")
        self.place += count
        return found

    def varint(self, most=2**62 - 1):
        number = 0
        for group in range(9):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << 7 * group
            if byte < 0x80:
                sure(number <= most and (byte or not group), "varint")
                return number
        raise BrokenError("varint")

    def signed(self):
        number = self.varint()
        return -(number + 1) // 2 if number % 2 else number // 2

    def end(self):
        sure(self.place == len(self.data), "goes on behind its end")
