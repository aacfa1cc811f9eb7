"""What every recipe asks of the rows and of the model to start from, before it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.errors import DataError, ModelError

if TYPE_CHECKING:
    from edgeloop.types import Model, Snapshot


def check_split(snapshot: Snapshot) -> None:
    """Raise DataError unless each row belongs to a part."""
    if not any(name.startswith("split-") for name in snapshot.files):
        raise DataError(
            f"snapshot {snapshot.name}",
            "must be split before training",
            todo="Name a split under data: in the loop file",
        )


def check_format(start: Model, wanted: str) -> None:
    """Raise ModelError unless the model to start from is as its recipe made it."""
    if start.format != wanted:
        raise ModelError(
            "model to start from",
            f"must be a {wanted} model",
            got=start.format,
            todo="Name the recipe's own model, not one that a pass exported",
        )
