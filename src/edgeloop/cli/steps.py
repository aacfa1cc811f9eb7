"""What a run shows while it works: its steps, and how far the present one is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from edgeloop.loop.runner import StepResult


class Steps:
    """Steps and progress on stderr: a bar on a terminal, a line per step elsewhere."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(file=sys.stderr)
        self._bars = Progress(
            TextColumn("{task.description:24}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bars.start()
        self._task = self._bars.add_task("", total=1)
        return self

    def __exit__(self, *fault: object) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """How far the present step is."""
        self._bars.update(self._task, description=what, completed=done, total=total)

    def step(self, step: StepResult) -> None:
        """One step that was taken."""
        how = f"{step.seconds:6.1f} s" if step.executed else "  in store"
        self.say(f"{step.name:18} {step.artifact.digest[7:19]} {how}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self._bars.console.print(text, highlight=False)
