"""Labels as they are told on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def told_labels(texts: Sequence[str]) -> dict[str, str]:
    """What ``--label name=value`` says, each.

    Raises:
        OverrideError: one is none that a selector could ask for.
    """
    from pydantic import TypeAdapter, ValidationError

    from edgeloop.agent.settings import labels
    from edgeloop.errors import OverrideError
    from edgeloop.protocol.messages import Labels

    told = labels(texts)
    try:
        return TypeAdapter(Labels).validate_python(told)
    except ValidationError as error:
        raise OverrideError(
            "--label",
            "must be name=value: up to 64 of A-Z a-z 0-9 . _ -, and up to 128 without , and =",
            got=", ".join(ascii(text) for text in texts)[:200],
        ) from error
