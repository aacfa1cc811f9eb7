"""The interval of a share that was measured on a limited number of rows, at 95 % confidence."""

import math

Z95 = 1.959963984540054  # of the normal distribution, two-sided


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Interval of a share 0..1 seen on ``rows`` rows (E. B. Wilson, JASA 22, 1927).

    Values that lie between 0 and 1 instead of at them only make it wider than need be.
    """
    if rows == 0:
        return 0.0, 1.0
    square = Z95**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = Z95 * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
