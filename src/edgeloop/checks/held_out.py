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
        """Mean of ``values`` (one per row) and number of rows for each population that has any."""
        return {
            name: {"value": float(values[self.profile == index].mean()), "rows": int(count)}
            for index, name in enumerate(self.profiles)
            if (count := (self.profile == index).sum())
        }


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
