"""What a bundle came from: the model that a recipe built, and the rows that it learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.errors import ArtifactMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeloop.store.artifacts import Store
    from edgeloop.types import Artifact


def built_model(store: Store, bundle: str) -> Artifact:
    """The model that a recipe built, from which a bundle came.

    Raises:
        ArtifactMissingError: it is no longer in the store.
    """
    made_of, _ = store.own_lineage(bundle)
    return _last(bundle, [a for a in made_of if a.made_by.plugin.startswith("recipe/")])


def learned_rows(store: Store, bundle: str) -> Artifact:
    """The split snapshot that a release was trained on, rows of earlier turns included.

    Raises:
        ArtifactMissingError: it is no longer in the store.
    """
    learned = built_model(store, bundle).parents
    made_of, _ = store.own_lineage(bundle)
    rows = [a for a in made_of if a.kind == "snapshot" and a.digest in learned]
    return _last(bundle, rows)


def _last(bundle: str, found: Sequence[Artifact]) -> Artifact:
    if not found:
        rule, todo = "must be in the store", "`edgeloop gc` removed it with a delisted release"
        raise ArtifactMissingError(f"what bundle {bundle} is made of", rule, todo=todo)
    return found[-1]
