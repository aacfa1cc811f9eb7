"""A small world of columns for tests of boosted trees: texts, numbers, and missing ones of both."""

import numpy as np
import pytest

from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.passes.export_trees import ExportTrees
from edgeloop.plugins import Context
from edgeloop.recipes.gradient_boosting import GradientBoosting
from edgeloop.types import AnswerSpec, Model, Snapshot

TOWNS = ("Aachen", "Bonn", "Celle", "Dresden", "Essen")  # the later in the alphabet, the richer
RECIPE = GradientBoosting(trees=60, leaf_rows=5, ignore=("sex",))


def people(rows: int, seed: int = 3) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Who is rich (one in five) depends on all but sex and hours."""
    generator = np.random.default_rng(seed)
    town = generator.integers(0, len(TOWNS), rows)
    age = generator.uniform(20, 70, rows).astype(np.float32)
    debt = generator.normal(0, 1, rows).astype(np.float32)
    trade = generator.integers(0, 3, rows)
    noise = generator.normal(0, 0.5, rows)
    rich = (town - 2) + (age - 45) / 12 - debt + trade - 1 + noise > 1.9
    names = np.array(TOWNS, dtype=object)[town]
    names[generator.random(rows) < 0.1] = ""
    age[generator.random(rows) < 0.15] = np.nan
    inputs = {
        "town": names,
        "trade": np.array(["baker", "miner", "judge"], dtype=object)[trade],  # never missing here
        "age": age,
        "debt": debt,  # never missing here
        "hours": generator.integers(0, 60, rows),
        "sex": np.array(["f", "m"], dtype=object)[generator.integers(0, 2, rows)],
    }
    return inputs, rich.astype(np.int64)


def table(context: Context, *, classes: tuple[str, ...] = ("poor", "rich"), **columns) -> Snapshot:
    """1,000 people as a snapshot that is split; ``columns`` stand in place of those made up."""
    inputs, rich = people(1000)
    whole = write(
        name="towns",
        inputs={**inputs, **columns},
        target=("rich", rich),
        answer=AnswerSpec(kind="label", params={"classes": list(classes)}),
        scratch=context.scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, context)


@pytest.fixture(scope="session")
def towns(workplace) -> Snapshot:
    return table(workplace())


@pytest.fixture(scope="session")
def trees(towns, workplace) -> Model:
    return RECIPE.build(towns, workplace(snapshot=towns))


@pytest.fixture(scope="session")
def trees_graph(trees, towns, workplace) -> Model:
    return ExportTrees().run(trees, workplace(snapshot=towns))
