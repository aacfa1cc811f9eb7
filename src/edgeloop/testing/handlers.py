"""The contract of handlers: what takes a payload that is no model must keep to.

Ours are tested with it; a third party's tests call it with a handler and a payload of their own,
where installing it harms nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.agent.handlers import Action
from edgeloop.errors import HandlerError
from edgeloop.testing.contracts import ContractError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.handlers import Handler, Work

LIFE = (Action.ADMIT, Action.INSTALL, Action.CHECK, Action.COMMIT, Action.ROLL_BACK)
KINDS = ("script", "container", "firmware")


def check_handler(handler: Handler, work: Work) -> None:
    """Take a payload through its life, each action twice, as power cuts may have it.

    ``restart`` is left out: it would restart this machine.

    Raises:
        ContractError: the handler takes no known kind, has times that are none, fails an action the
            second time, gives something else than text, or changes the payload's files.
    """
    if handler.takes not in KINDS:
        raise ContractError(f"takes must be one of {', '.join(KINDS)}, got {handler.takes!r}")
    if min(handler.check_seconds, handler.within_seconds) <= 0:
        raise ContractError("check_seconds and within_seconds must be above 0")
    before = _files(work.folder)
    for action in LIFE:
        for time in ("first", "second"):
            try:
                said = handler.do(action, work)
            except HandlerError as fault:
                raise ContractError(
                    f"{action} must succeed the {time} time, got {fault}"
                ) from fault
            if not isinstance(said, str):
                raise ContractError(f"{action} must give text, got {type(said).__name__}")
    if _files(work.folder) != before:
        raise ContractError("the payload's files must not be changed")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in _all(folder)}


def _all(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
