"""A device of the demo: a camera application with the agent inside, one process per device.

It classifies what its camera sees, and its operator confirms each answer. It ends when its stdin
closes, so that nothing is left behind when the demo is killed.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from world import ANSWERS_PER_SECOND, Camera

from edgeloop.agent.agent import Agent
from edgeloop.agent.endpoint import serving
from edgeloop.errors import NoSlotError
from edgeloop.orphans import when_parent_ends


def main() -> int:
    """Run until stdin closes or SIGTERM comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    told = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_parent_ends(stop.set)
    with Agent.open(told.folder) as agent, serving(agent, "127.0.0.1:0") as address:
        (told.folder / "address").write_text(address)
        with (told.folder / "starts").open("a") as starts:  # for the demo's sums
            starts.write("start\n")
        camera = Camera(told.world, agent.settings.labels["site"], told.seed)
        worker = threading.Thread(target=agent.run, args=(stop,))
        worker.start()
        try:
            while not stop.wait(1 / ANSWERS_PER_SECOND):
                see(agent, camera)
        finally:
            stop.set()
            worker.join()
    return 0


def see(agent: Agent, camera: Camera) -> None:
    """One image, one answer, one confirmation."""
    image, digit = camera.look()
    try:
        answer = agent.answer({"image": image})
    except NoSlotError:  # before the first release has arrived
        return
    agent.feedback(answer.id, str(digit))


if __name__ == "__main__":
    sys.exit(main())
