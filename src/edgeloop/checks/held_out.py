"""The rows that no training saw, and what a model answers on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.answers import open_kind

if TYPE_CHECKING:
    from edgeloop.answers import AnswerKind
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model

BATCH = 256
NO_ROWS = "the snapshot has no rows in its part 'test'"
NO_ANSWERS = "the model answers none of the held-out rows"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Part ``test`` of a step's snapshot: inputs by name, truth, and the population of each row."""

    kind: AnswerKind
    feed: Arrays
    truth: Array
    profile: Array  # uint8[rows], index into profiles
    profiles: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.truth)

    def answers(self, model: Model, context: Context) -> dict[str, Array]:
        """Every output of ``model`` by name, on all rows."""
        import numpy as np

        session = context.session(model)
        parts = [
            session.run({name: values[start : start + BATCH] for name, values in self.feed.items()})
            for start in range(0, self.rows, BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

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
    )
