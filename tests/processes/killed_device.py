"""An application with the agent inside that is killed again and again: it asks without a rest.

Into the file that it is given it writes, before it goes on: ``alive VERSION`` with its first
answer, ``wrong VERSION`` for an answer that no release may give in charge, and ``acknowledged ID``
for each window that the control plane has, before the device forgets it.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np

from edgeloop.agent.agent import Agent
from edgeloop.errors import NoSlotError
from edgeloop.orphans import when_parent_ends
from edgeloop.protocol.messages import Windows

PAUSE = 0.01  # seconds between two answers
SIDES = ("left", "right")


def main() -> int:
    """Ask until stdin closes or SIGTERM comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--told", type=Path, required=True)
    given = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_parent_ends(stop.set)
    told = os.open(given.told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Agent.open(given.folder) as agent:
        _witness(agent, told)
        background = threading.Thread(target=agent.run, args=(stop,))
        background.start()
        try:
            _ask(agent, told, stop)
        finally:
            stop.set()
            background.join()
    return 0


def _ask(agent: Agent, told: int, stop: threading.Event) -> None:
    alive, asked = False, 0
    while not stop.wait(PAUSE):
        side = asked % 2
        asked += 1
        image = np.zeros((4, 4), dtype=np.uint8)
        image[:, 2 * side : 2 * side + 2] = 120
        try:
            answer = agent.answer({"image": image})
        except NoSlotError:  # before the first release
            continue
        if answer.result["label"] != SIDES[side]:
            os.write(told, f"wrong {answer.version}\n".encode())
        if not alive:
            alive = True
            os.write(told, f"alive {answer.version}\n".encode())


def _witness(agent: Agent, told: int) -> None:
    """Write down what was acknowledged before the device deletes it."""
    forget = agent._books.signals.acknowledged

    def acknowledged(batch: Windows) -> None:
        for window in batch.windows:
            os.write(told, f"acknowledged {window.id}\n".encode())
        forget(batch)

    agent._books.signals.acknowledged = acknowledged


if __name__ == "__main__":
    sys.exit(main())
