"""The rows that no training saw, and what a model answers on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeloop.answers import open_kind
from edgeloop.runtimes.program import answers_to, rows_at

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path

    from edgeloop.answers import AnswerKind
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model

MOST_BYTES = 256 << 20  # of one model's answers that are kept for the next check
NO_ROWS = "the snapshot has no rows in its part 'test'"
NO_ANSWERS = "the model answers none of the held-out rows"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Rows of part ``test`` of a step's snapshot: inputs, truth, and the population of each.

    ``places`` are those of the part that these rows are; None is all of it.
    """

    kind: AnswerKind
    feed: Arrays
    truth: Array
    profile: Array  # uint8[rows], index into profiles
    profiles: tuple[str, ...]
    part: Hashable  # which part of which snapshot this is
    places: Array | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.truth)

    def taken(self, places: Array) -> HeldOut:
        """Of all rows those at ``places``."""
        return replace(
            self,
            feed=rows_at(self.feed, places),
            truth=self.truth[places],
            profile=self.profile[places],
            places=places,
        )

    def answers(self, model: Model, context: Context) -> Arrays:
        """Every output of ``model`` by name, on all rows; worked out once in a run.

        Models are asked for the same rows by most checks, and asking is what they take time for.
        """
        key = (self.part, _named(model))
        if key in context.answered:
            found = context.answered[key]
            if self.places is None:
                return found
            return rows_at(found, self.places)
        found = answers_to(self.feed, model, context.session(model))
        if self.places is None and sum(one.nbytes for one in found.values()) <= MOST_BYTES:
            context.answered[key] = found
        return found

    def by_profile(self, values: Array) -> dict[str, dict[str, float]]:
        """Mean of ``values`` (one per row) and number of rows for each population that has any.

        A row whose value is NaN has no answer, and does not count.
        """
        parts = {
            name: known(values[self.profile == index]) for index, name in enumerate(self.profiles)
        }
        return {
            name: {"value": float(part.mean()), "rows": len(part)}
            for name, part in parts.items()
            if len(part)
        }


def known(values: Array) -> Array:
    """Those of ``values`` that are not NaN: of the rows that have an answer."""
    import numpy as np

    kept: Array = values[~np.isnan(values)]
    return kept


def held_out(model: Model, context: Context) -> HeldOut:
    """The part ``test`` of the step's snapshot; it may have no rows."""
    snapshot = context.data()
    return HeldOut(
        kind=open_kind(model.answer),
        feed=snapshot.feed("test"),
        truth=snapshot.column(snapshot.target, "test"),
        profile=snapshot.column("profile", "test"),
        profiles=snapshot.profiles,
        part=("test", *_paths(snapshot.files)),
    )


def _named(model: Model) -> Hashable:
    """What a model answers depends on nothing else. Files lie in a store under their digests."""
    return (model.format, repr(model.program), repr(model.answer), *_paths(model.files))


def _paths(files: Mapping[str, Path]) -> tuple[tuple[str, Path], ...]:
    return tuple(sorted(files.items()))
