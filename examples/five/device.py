"""A device of the five examples: an application with the agent inside, whatever the model.

It asks for rows in their order and tells afterwards what was true. Each site has a file of rows;
when the world changes, the south goes on in another. It ends when its stdin closes.
"""

import argparse
import signal
import sys
import threading
from collections import deque
from pathlib import Path

from edgeloop.agent.agent import Agent
from edgeloop.arrayfiles import unpack
from edgeloop.errors import InputMismatchError, NoSlotError
from edgeloop.orphans import when_parent_ends

CHANGED = "world-changed"  # a file that says so
SLOT_SECONDS = 0.5  # between two looks for a first slot


class World:
    """Rows for one device, in order, from a place of its own, round and round."""

    def __init__(self, folder: Path, site: str, start: float) -> None:
        self._folder, self._changes = folder, site == "south"
        self._rows = {name: unpack(folder / f"{name}.zip") for name in ("steady", "changed")}
        self._place = int(start * self._count())

    def look(self) -> tuple[dict[str, object], object]:
        """One row's inputs by name, and what is true of it."""
        changed = self._changes and (self._folder / CHANGED).exists()
        rows = self._rows["changed" if changed else "steady"]
        place = self._place % len(rows["truth"])
        self._place += 1
        inputs = {n.removeprefix("in."): v[place] for n, v in rows.items() if n.startswith("in.")}
        truth = rows["truth"][place]
        return inputs, truth.tolist() if hasattr(truth, "tolist") else truth

    def _count(self) -> int:
        return len(self._rows["steady"]["truth"])


def work(agent: Agent, world: World, stop: threading.Event, told: argparse.Namespace) -> None:
    """Ask, and tell the truth of an answer when ``late`` others have been given."""
    untold: deque[tuple[str, object]] = deque()
    while not stop.wait(told.every):
        inputs, truth = world.look()
        try:
            answer = agent.answer(inputs)
        except NoSlotError:  # before the first release has arrived
            stop.wait(SLOT_SECONDS)
            continue
        untold.append((answer.id, truth))
        if len(untold) > told.late:
            confirm(agent, *untold.popleft())


def confirm(agent: Agent, answer: str, truth: object) -> None:
    """What an operator does; a truth that nobody knows (a series' end) is not told."""
    try:
        agent.feedback(answer, truth)
    except InputMismatchError as fault:
        print(fault, file=sys.stderr)


def main() -> int:
    """Run until stdin closes or SIGTERM comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--start", type=float, required=True, help="first row, as a share of all")
    parser.add_argument("--every", type=float, required=True, help="seconds between answers")
    parser.add_argument("--late", type=int, default=0, help="answers until a truth is known")
    told = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_parent_ends(stop.set)
    with Agent.open(told.folder) as agent:
        world = World(told.folder.parents[1], agent.settings.labels["site"], told.start)
        background = threading.Thread(target=agent.run, args=(stop,))
        background.start()
        try:
            work(agent, world, stop, told)
        finally:
            stop.set()
            background.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
