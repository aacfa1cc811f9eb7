"""An answer that an application gets in pieces, and what becomes of it when it ends or is left."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.errors import ModelError

if TYPE_CHECKING:
    from edgeloop.agent.admission import Timer
    from edgeloop.agent.answering import Answer
    from edgeloop.agent.loaded import Loaded
    from edgeloop.types import Arrays


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Who is told how a stream ended; exactly one of them, once."""

    whole: Callable[[Arrays, float], Answer]  # answers, milliseconds
    left: Callable[[Arrays], None]  # what was given before the application went
    failed: Callable[[], None]


class Streaming:
    """The pieces (``str``) of one answer; iterate, and ``close`` when you go before its end.

    ``id`` is the answer's from the beginning, ``answer`` the whole of it once it has ended.
    """

    def __init__(
        self, answer_id: str, slot: Loaded, feed: Arrays, ends: Ends, timer: Timer
    ) -> None:
        self.id, self.version = answer_id, slot.ref.version
        self.answer: Answer | None = None
        self._pieces = _pieces(slot, feed, ends, timer)

    def __iter__(self) -> Streaming:
        return self

    def __next__(self) -> str:
        """The next piece.

        Raises:
            InputMismatchError: the model's runtime answers whole alone, or the row does not fit.
            ModelError: the model failed.
        """
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.answer = self.answer or end.value
            raise

    def close(self) -> None:
        """Stop the model, unless it has ended."""
        self._pieces.close()


def _pieces(slot: Loaded, feed: Arrays, ends: Ends, timer: Timer) -> Generator[str, None, Answer]:
    """The pieces; the whole answer is what the generator returns."""
    began = timer()
    try:
        with slot.converted():
            pieces = slot.stream(feed)
            try:
                yield from pieces
            except GeneratorExit:  # pieces are closed by now
                ends.left(pieces.answers())
                raise
    except ModelError:
        ends.failed()
        raise
    return ends.whole(pieces.answers(), (timer() - began) * 1000)
