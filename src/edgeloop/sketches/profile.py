"""A population of values as mergeable sketches: one KLL per named feature, and a count of rows.

KLL quantile sketches (Karnin, Lang, Liberty, "Optimal quantile approximation in streams", FOCS
2016) from Apache DataSketches: normalised rank error 1.33 % at k = 200, for any number of rows.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edgeloop.errors import ProtocolError

if TYPE_CHECKING:
    from edgeloop.types import Array

K = 200


class Profile:
    """Sketches by feature name. ``update`` and ``merge`` change it; all else reads."""

    def __init__(self) -> None:
        self._sketches: dict[str, Any] = {}

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that were seen, sorted."""
        return tuple(sorted(self._sketches))

    def rows(self, feature: str) -> int:
        """How many values of a feature were seen."""
        sketch = self._sketches.get(feature)
        return 0 if sketch is None else int(sketch.n)

    def update(self, values: Mapping[str, Array]) -> None:
        """Add ``float[n]`` per feature. Values that are not finite are left out."""
        import numpy as np

        for name, column in values.items():
            finite = column[np.isfinite(column)].astype(np.float32)
            if len(finite):
                self._sketch(name).update(finite)

    def merge(self, other: Profile) -> None:
        """Add all that ``other`` saw; ``other`` stays as it is."""
        for name, sketch in other._sketches.items():
            self._sketch(name).merge(sketch)

    def quantiles(self, feature: str, ranks: Iterable[float]) -> list[float]:
        """Values at ``ranks`` (0..1); an empty list when the feature was never seen."""
        sketch = self._sketches.get(feature)
        return [] if sketch is None else [float(v) for v in sketch.get_quantiles(list(ranks))]

    def shares(self, feature: str, edges: list[float]) -> list[float]:
        """Share of the values in each of the ``len(edges) + 1`` bins that ``edges`` cut."""
        sketch = self._sketches.get(feature)
        return [] if sketch is None else [float(v) for v in sketch.get_pmf(edges, inclusive=True)]

    def to_json(self) -> dict[str, str]:
        """Feature -> base64 of the sketch's standard serialised form."""
        return {
            name: base64.b64encode(sketch.serialize()).decode()
            for name, sketch in sorted(self._sketches.items())
        }

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Profile:
        """The inverse of :meth:`to_json`.

        Raises:
            ProtocolError: a sketch is not base64 or not a KLL sketch.
        """
        from datasketches import kll_floats_sketch

        profile = cls()
        for name, text in data.items():
            try:
                sketch = kll_floats_sketch.deserialize(base64.b64decode(text, validate=True))
            except (ValueError, RuntimeError, MemoryError, IndexError) as fault:
                raise ProtocolError(
                    f"sketch of feature {name!r}", "must be a KLL sketch in base64", got=fault
                ) from fault
            profile._sketches[name] = sketch
        return profile

    def _sketch(self, name: str) -> Any:
        from datasketches import kll_floats_sketch

        if name not in self._sketches:
            self._sketches[name] = kll_floats_sketch(K)
        return self._sketches[name]


def merged(profiles: Iterable[Profile]) -> Profile:
    """One profile of all that ``profiles`` saw."""
    total = Profile()
    for profile in profiles:
        total.merge(profile)
    return total
