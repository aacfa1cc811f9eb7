"""Rules that numbers with an interval share: how far apart, how wide, how well met. Pure.

All take ``value``, ``low`` and ``high`` as float[n, k]. A row with NaN in any of its k places has
no answer (or no truth), and gets NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeloop.types import Array, Json

SHOWN = 168  # rows in the picture of answers and truth


def table(values: Array) -> Array:
    """``[n]`` or ``[n, k]`` as float64[n, k]."""
    return values.reshape(len(values), -1).astype("float64")


def error(value: Array, truth: Array, scale: float) -> Array:
    """float64[n]: mean distance from the truth, in units of ``scale``."""
    import numpy as np

    found: Array = np.abs(table(value) - table(truth)).mean(axis=1) / scale
    return found


def same(got: list[Array], want: list[Array], limit: float) -> Array:
    """bool[n]: all numbers within ``limit`` of each other; no answer equals no answer."""
    import numpy as np

    mine, theirs = (np.concatenate([table(one) for one in side], axis=1) for side in (got, want))
    found: Array = np.isclose(mine, theirs, rtol=0, atol=limit, equal_nan=True).all(axis=1)
    return found


def apart(one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
    """float64[n] in 0..1: the share of two intervals (low, high) that they do not have in common.

    One less their overlap divided by what they cover together, so that it means the same in every
    unit: answers of twice the size, with intervals of twice the width, are as far apart as before.
    """
    import numpy as np

    (low, high), (low2, high2) = ([table(end) for end in ends] for ends in (one, other))
    common = np.maximum(np.minimum(high, high2) - np.maximum(low, low2), 0)
    covered = np.maximum(high, high2) - np.minimum(low, low2)
    shares = np.where(covered > 0, 1 - common / np.where(covered > 0, covered, 1), 0.0)
    found: Array = np.where(np.isnan(covered), np.nan, shares).mean(axis=1)
    return found


def width(value: Array, low: Array, high: Array) -> Array:
    """float64[n] in 0..1: the interval's width as a share of itself and the value's size.

    0 is a number without doubt; 0.5 an interval as wide as the number is large.
    """
    import numpy as np

    wide, size = table(high) - table(low), np.abs(table(value))
    whole = wide + size
    shares = np.where(whole > 0, wide / np.where(whole > 0, whole, 1), 0.0)
    found: Array = np.where(np.isnan(whole), np.nan, shares).mean(axis=1)
    return found


def within(low: Array, high: Array, truth: Array) -> Array:
    """float64[n] in 0..1: the share of a row's truths that lie within their intervals."""
    import numpy as np

    low, high, truth = table(low), table(high), table(truth)
    known = ~np.isnan(low + high + truth)
    inside = (low <= truth) & (truth <= high)
    found: Array = np.where(known, inside, np.nan).mean(axis=1)
    return found


def lines(title: str, columns: dict[str, Array]) -> dict[str, Json]:
    """A picture of the first rows in which every one of ``columns`` (float[n]) is known."""
    import numpy as np

    known = np.flatnonzero(~np.isnan(np.stack(list(columns.values()))).any(axis=0))[:SHOWN]
    drawn: dict[str, Any] = {
        name: [round(float(value), 6) for value in values[known]]
        for name, values in columns.items()
    }
    return {
        "kind": "lines", "title": title, "x": known.tolist(), "lines": drawn,
        "x_name": "held-out row", "y_name": "value",
    }  # fmt: skip


def feature(values: Array) -> Array:
    """float64[n]: the mean of a row, for sketches."""
    found: Array = table(values).mean(axis=1)
    return found


def stated(told: Json, count: int) -> list[float]:
    """What a person confirmed as ``count`` numbers.

    Raises:
        ValueError: it is not so many finite numbers.
    """
    import math

    numbers = told if isinstance(told, list) else [told]
    plain = all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
    if len(numbers) != count or not plain or not all(map(math.isfinite, numbers)):
        many = "a finite number" if count == 1 else f"a list of {count} finite numbers"
        raise ValueError(f"must be {many}")
    return [float(one) for one in numbers]


def check_target(truth: Array, shape: tuple[int, ...]) -> None:
    """Return when a target column holds floats of ``shape`` per row, of which none is infinite.

    Raises:
        ValueError: it does not; the rule and what was got.
    """
    import numpy as np

    size = "".join(f", {length}" for length in shape)
    if truth.dtype.kind != "f" or truth.shape[1:] != shape:
        got = f"{truth.dtype}{list(truth.shape)}"
        raise ValueError(f"must hold numbers float[n{size}], NaN where unknown, got {got}")
    if np.isinf(truth).any():
        raise ValueError(f"must hold no infinite number, got {int(np.isinf(truth).sum())}")
