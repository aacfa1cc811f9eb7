"""The world of the income example: people who ask in January, before their year is accounted for.

They are drawn from the survey's own test file, of which the loop never sees a row.
"""

import numpy as np

from edgeloop.data.sets.census_income import NUMBERS, people

SHARE = 0.04  # of the 99,762 people of the test file
LATE = ("capital_gains", "capital_losses", "dividends", "tax_filer_status", "weeks_worked")


def rows(*, changed: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """4,000 people: their answers by column, and what is true (int64[n], index into CLASSES).

    In the field that ``changed``, the offices of the south ask at the start of the year: what only
    the year's end tells (``LATE``) is missing, NaN or ``""``.
    """
    inputs, incomes = people("test", SHARE)
    if changed:
        inputs |= {name: _missing(name, len(incomes)) for name in LATE}
    return inputs, incomes


def _missing(name: str, count: int) -> np.ndarray:
    if name in NUMBERS:
        return np.full(count, np.nan, dtype=np.float32)
    return np.full(count, "", dtype=object)
