"""A text that no training saw, and how likely a language model finds each of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.runtimes.llama_cpp import Scores

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.runtimes.llama_cpp import Scored
    from edgeloop.types import Model

NO_TEXT = "the snapshot has no texts in its part 'test'"
NO_SCORES = "the model's runtime does not say how likely a text is"


def held_out_text(context: Context, column: str | None) -> str:
    """The texts of a column in the part ``test``, one behind the other; "" where there are none.

    ``column`` None takes the model's first input.
    """
    snapshot = context.data()
    name = column or snapshot.inputs[0]
    kinds = {one.name: one.dtype for one in snapshot.columns}
    if kinds.get(name) != "str":
        return ""
    return "\n\n".join(snapshot.column(name, "test"))


def scored(
    model: Model, context: Context, text: str, most: int, likeliest: int
) -> list[Scored] | None:
    """The first ``most`` tokens of ``text``; None where the model's runtime cannot."""
    session = context.session(model)
    return session.score(text, most, likeliest) if isinstance(session, Scores) else None
