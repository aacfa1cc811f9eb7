"""Named summaries of inputs: what a device may sketch, from a closed list; never the input."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgeloop.errors import BundleError

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays


def image_summary(images: Array) -> dict[str, Array]:
    """Eight summaries of images ``uint8[n, h, w]`` or ``[n, h, w, c]``, as ``float64[n]`` each.

    Colours are averaged first.

    Mean, spread, share of dark and of bright pixels, centre (x, y, 0..1), sharpness (mean absolute
    step to the next pixel) and slant (orientation of the second moments, radians, -pi/2..pi/2).
    """
    import numpy as np

    grey = images.astype(np.float64)
    if grey.ndim == 4:
        grey = grey.mean(axis=3)
    _, height, width = grey.shape
    weight = grey.sum(axis=(1, 2)) + 1e-9
    ys, xs = np.mgrid[0:height, 0:width]
    x = (grey * xs).sum(axis=(1, 2)) / weight
    y = (grey * ys).sum(axis=(1, 2)) / weight
    dx, dy = xs - x[:, None, None], ys - y[:, None, None]
    xx, yy, xy = ((grey * m).sum(axis=(1, 2)) / weight for m in (dx * dx, dy * dy, dx * dy))
    return {
        "mean": grey.mean(axis=(1, 2)),
        "spread": grey.std(axis=(1, 2)),
        "dark": (grey < 64).mean(axis=(1, 2)),
        "bright": (grey > 192).mean(axis=(1, 2)),
        "x": x / max(width - 1, 1),
        "y": y / max(height - 1, 1),
        "sharpness": np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2)),
        "slant": 0.5 * np.arctan2(2 * xy, xx - yy),
    }


def value_summary(values: Array) -> dict[str, Array]:
    """A number per row, as it is: ``[n]`` or ``[n, 1]``; for floats also whether it is missing."""
    import numpy as np

    numbers = values.reshape(len(values), -1)[:, 0].astype("float64")
    if values.dtype.kind != "f":
        return {"value": numbers}
    return {"value": numbers, "missing": np.isnan(numbers).astype("float64")}


def array_summary(values: Array) -> dict[str, Array]:
    """Mean, spread, least and largest of each row of ``[n, ...]``; NaN where a row has none."""
    rows = values.reshape(len(values), -1).astype("float64")
    return {
        "mean": rows.mean(axis=1),
        "spread": rows.std(axis=1),
        "least": rows.min(axis=1),
        "largest": rows.max(axis=1),
    }


def text_summary(texts: Array) -> dict[str, Array]:
    """What can be counted of texts ``str[n]`` without reading them: five numbers per row.

    Characters, words, and the shares (0..1) of digits, of capitals and of characters beyond ASCII.
    """
    import numpy as np

    rows = [str(text) for text in texts.reshape(-1)]
    sizes = np.array([len(row) for row in rows], dtype=np.float64)

    def share(counts: list[int]) -> Array:
        shares: Array = np.array(counts, dtype=np.float64) / np.maximum(sizes, 1)
        return shares

    return {
        "characters": sizes,
        "words": np.array([len(row.split()) for row in rows], dtype=np.float64),
        "digits": share([sum(map(str.isdigit, row)) for row in rows]),
        "capitals": share([sum(map(str.isupper, row)) for row in rows]),
        "foreign": share([len(row) - len(row.encode("ascii", "ignore")) for row in rows]),
    }


def category_summary(texts: Array) -> dict[str, Array]:
    """The bucket (0 to 96, by CRC-32) of each text ``str[n]``: few texts, each as it is.

    A text that was never seen mostly falls into a bucket of its own, so it shows as drift.
    """
    import numpy as np

    rows = (str(text).encode() for text in texts.reshape(-1))
    return {"bucket": np.array([zlib.crc32(row) % 97 for row in rows], dtype=np.float64)}


SUMMARIES: dict[str, Callable[[Array], dict[str, Array]]] = {
    "array": array_summary,
    "category": category_summary,
    "image": image_summary,
    "text": text_summary,
    "value": value_summary,
}
MOST_CATEGORIES = 128  # a column of more different texts is one of free text
LEAST_EACH = 2  # so is one in which a text stands fewer times than this on average


def summarise(inputs: Arrays, signals: Mapping[str, str]) -> dict[str, Array]:
    """``input.<name>.<summary>`` -> ``float64[n]`` for every input that ``signals`` names.

    ``signals`` maps an input's name to a summary of :data:`SUMMARIES`.

    Raises:
        BundleError: a summary that this version does not have.
    """
    found: dict[str, Array] = {}
    for name, summary in signals.items():
        if summary not in SUMMARIES:
            known = ", ".join(sorted(SUMMARIES))
            raise BundleError(f"signals.{name}", f"must be one of {known}", got=repr(summary))
        for key, values in SUMMARIES[summary](inputs[name]).items():
            found[f"input.{name}.{key}"] = values
    return found


def summaries_for(inputs: Arrays) -> dict[str, str]:
    """The summary that fits each input; times have none: they are always later than before."""
    return {
        name: _summary(values) for name, values in inputs.items() if values.dtype.kind not in "mM"
    }


def _summary(values: Array) -> str:
    """Pixels, texts, one number, or any other array of numbers."""
    shape = values.shape[1:]
    if values.dtype == object:
        different = len(set(values.reshape(-1)))  # texts of few rows are few, and yet free
        few = different <= min(MOST_CATEGORIES, values.size / LEAST_EACH)
        return "category" if few else "text"
    colours = shape[2] if len(shape) == 3 else 1
    if values.dtype == "uint8" and len(shape) in {2, 3} and colours in {1, 3, 4}:
        return "image"
    return "value" if shape in {(), (1,)} else "array"
