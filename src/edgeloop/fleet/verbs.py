"""What may be done to a rollout in which state: a table, and nothing that is not in it."""

from enum import StrEnum

from edgeloop.errors import ConflictError
from edgeloop.protocol.messages import RolloutState


class Verb(StrEnum):
    """What an operator, or the rules (``finish``, ``fall short``), do to a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ROLL_BACK = "rollback"
    FINISH = "finish"
    FALL_SHORT = "fall short"


MOVES: dict[tuple[RolloutState, Verb], RolloutState] = {
    (RolloutState.DRAFT, Verb.START): RolloutState.RUNNING,
    (RolloutState.DRAFT, Verb.STOP): RolloutState.STOPPED,
    (RolloutState.RUNNING, Verb.PAUSE): RolloutState.PAUSED,
    (RolloutState.RUNNING, Verb.STOP): RolloutState.STOPPED,
    (RolloutState.RUNNING, Verb.FINISH): RolloutState.FINISHED,
    (RolloutState.RUNNING, Verb.FALL_SHORT): RolloutState.INCOMPLETE,
    (RolloutState.RUNNING, Verb.ROLL_BACK): RolloutState.ROLLED_BACK,
    (RolloutState.PAUSED, Verb.RESUME): RolloutState.RUNNING,
    (RolloutState.PAUSED, Verb.STOP): RolloutState.STOPPED,
    (RolloutState.PAUSED, Verb.ROLL_BACK): RolloutState.ROLLED_BACK,
    (RolloutState.STOPPED, Verb.ROLL_BACK): RolloutState.ROLLED_BACK,
    (RolloutState.FINISHED, Verb.ROLL_BACK): RolloutState.ROLLED_BACK,
    (RolloutState.INCOMPLETE, Verb.ROLL_BACK): RolloutState.ROLLED_BACK,
}

ACTIVE = (RolloutState.RUNNING, RolloutState.PAUSED)  # at most one of a model's channel


def move(rollout: int, state: RolloutState, verb: Verb) -> RolloutState:
    """The state that follows.

    Raises:
        ConflictError: the table has no such move.
    """
    try:
        return MOVES[state, verb]
    except KeyError as error:
        able = ", ".join(s for s, v in MOVES if v is verb)
        raise ConflictError(
            f"{verb} of rollout {rollout}", f"needs it to be {able}", got=str(state)
        ) from error
