"""The step ``prompt``: what a person wrote, set into the template that the model knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as value
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.program.steps import step
from edgeloop.types import TensorSpec

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays

PLACE = "{text}"
LARGEST = 1 << 16  # bytes of a template


@step("prompt")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Prompt:
    """Each text of ``input``, without outer blanks, in the place ``{text}`` of the template.

    ``file`` is the template. A text may have ``most`` characters, which bounds the work before any
    tokenizer sees it. Texts of ``turns``, which begin and end the turns of a talk, are taken out of
    what a person wrote, so that nobody can speak as the system or as the model.
    """

    input: str = "prompt"
    file: str = "prompt.txt"
    most: Annotated[int, Field(ge=1, le=1_000_000)] = 8000
    turns: tuple[Annotated[str, Field(min_length=1)], ...] = (
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
    )

    libraries: ClassVar[tuple[str, ...]] = ()

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        """The same inputs.

        Raises:
            ModelError: ``input`` is not one text per row.
        """
        if TensorSpec(name=self.input, dtype="str", shape=()) not in inputs:
            raise ModelError(
                f"input {self.input!r} of step 'prompt'",
                "must be one text per row",
                got=", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in inputs),
            )
        return inputs

    def open(self, files: Mapping[str, Path]) -> Prompted:
        """With the template read.

        Raises:
            ModelError: the file is missing, too large, no text, or has not one place for a text.
        """
        try:
            template = files[self.file].read_bytes()[: LARGEST + 1].decode()
        except (KeyError, OSError, UnicodeDecodeError) as error:
            got = "none" if isinstance(error, KeyError) else error
            raise ModelError(f"template {self.file}", "must be a text", got=got) from error
        check_template(template, self.file)
        return Prompted(step=self, template=template)


@value(frozen=True, kw_only=True)
class Prompted:
    """The step with its template."""

    step: Prompt
    template: str

    @property
    def beginning(self) -> str:
        """What stands before every text."""
        return self.template.partition(PLACE)[0]

    def run(self, feed: Arrays) -> dict[str, Array]:
        """The feed with each text in its place.

        Raises:
            InputMismatchError: a text is empty or too long.
        """
        import numpy as np

        texts = [self._set(row, text) for row, text in enumerate(feed[self.step.input])]
        return {**feed, self.step.input: np.array(texts, dtype=object)}

    def fresh(self) -> Prompted:
        """Itself: no memory."""
        return self

    def _set(self, row: int, text: str) -> str:
        if len(text) > self.step.most:
            raise InputMismatchError(
                f"{self.step.input} of row {row}",
                f"must have {self.step.most} characters or fewer",
                got=len(text),
            )
        said = _without(text, self.step.turns).strip()
        if not said:
            raise InputMismatchError(
                f"{self.step.input} of row {row}", "must not be empty", got=repr(text[:20])
            )
        return self.template.replace(PLACE, said)


def check_template(template: str, name: str) -> None:
    """Return when ``template`` has one place for a text.

    Raises:
        ModelError: it has not, or is too large.
    """
    if len(template.encode()) > LARGEST or template.count(PLACE) != 1:
        raise ModelError(
            f"template {name}",
            f"must have {PLACE} once, in {LARGEST} bytes or fewer",
            got=f"{template.count(PLACE)} in {len(template.encode())} bytes",
        )


def _without(text: str, turns: tuple[str, ...]) -> str:
    """``text`` without any of ``turns``, those too that appear when another is taken out."""
    while any(turn in text for turn in turns):
        for turn in turns:
            text = text.replace(turn, "")
    return text
