"""What others see of a training while it runs: its run in the tracker, and its curves."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeloop.plugins import Context, Run


@contextmanager
def tracked(context: Context, recipe: Any) -> Iterator[Run | None]:
    """A run named as the recipe is, which knows its parameters; None without a tracker."""
    name = recipe.plugin_name.rpartition(".v")[0]
    with nullcontext() if context.tracker is None else context.tracker.run(name) as run:
        if run is not None:
            told = TypeAdapter(type(recipe)).dump_python(recipe)
            run.params(told | {"seed": context.seed})
        yield run


class Curves(dict[str, list[float]]):
    """What was measured after each epoch, by name."""

    def __init__(self, *names: str) -> None:
        super().__init__({name: [] for name in names})

    def add(self, *values: float) -> None:
        """One epoch's values, in the order of the names."""
        for curve, number in zip(self.values(), values, strict=True):
            curve.append(round(number, 8))

    def report(self, run: Run | None, epoch: int) -> None:
        """Tell the tracker, where there is one, the last epoch's values."""
        if run is not None:
            run.metrics({name: curve[-1] for name, curve in self.items()}, epoch)
