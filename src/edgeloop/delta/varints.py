"""Whole numbers in as few bytes as they need: seven bits each, the lowest first (as in LEB128)."""

from __future__ import annotations

from collections.abc import Callable

from edgeloop.errors import DeltaError

LONGEST = 9  # bytes: 63 bits


class Packer:
    """Collects numbers."""

    def __init__(self) -> None:
        self.data = bytearray()

    def number(self, number: int) -> None:
        """Add one of 0 or more."""
        while number > 0x7F:
            self.data.append(0x80 | (number & 0x7F))
            number >>= 7
        self.data.append(number)

    def signed(self, number: int) -> None:
        """Add one of either sign: 0, -1, 1, -2 ... as 0, 1, 2, 3 ..."""
        self.number(2 * number if number >= 0 else -2 * number - 1)


class Unpacker:
    """Reads what a :class:`Packer` collected; ``take`` gives so many bytes or raises."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        self.take = take

    def number(self, most: int = (1 << 62) - 1) -> int:
        """The next one, of 0 to ``most``.

        Raises:
            DeltaError: it is larger, or longer than it need be, or what ``take`` raises.
        """
        number = 0
        for length in range(LONGEST):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << (7 * length)
            if byte < 0x80:
                if number > most:
                    raise DeltaError("delta", f"must have a number of at most {most}", got=number)
                if length and not byte:
                    break
                return number
        raise DeltaError("delta", "must tell numbers in as few bytes as they need")

    def signed(self) -> int:
        """The next one, of either sign."""
        number = self.number()
        return -(number + 1) // 2 if number & 1 else number // 2
