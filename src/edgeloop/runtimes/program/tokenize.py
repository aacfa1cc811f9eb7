"""The step ``tokenize``: texts become the numbers that a graph of words was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass as value
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.arrayfiles import dtype_of
from edgeloop.errors import InputMismatchError, MissingExtraError, ModelError
from edgeloop.runtimes.program.steps import step
from edgeloop.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeloop.types import Array, Arrays

LARGEST = 32 * 2**20  # bytes of a tokenizer
IDS, MASK = "input_ids", "attention_mask"


@step("tokenize")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Tokenize:
    """Each text of ``input`` as ``input_ids`` and ``attention_mask``, int64[n, ``length``] each.

    What is beyond ``characters`` of a text is not looked at, and what is beyond ``length`` tokens
    is left out; shorter texts are filled up, always to ``length``, so that an answer never depends
    on the other rows. An empty text is the tokenizer's special tokens alone.

    ``file`` is a tokenizer of the library ``tokenizers``. It belongs to the weights when it is the
    one of ``sha256``, and knows ``vocabulary`` tokens.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    vocabulary: Annotated[int, Field(ge=1)]
    input: str = "text"
    file: str = "tokenizer.json"
    length: Annotated[int, Field(ge=2, le=8192)] = 128
    characters: Annotated[int, Field(ge=1, le=1_000_000)] = 8192

    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        """Ids and mask in place of the text, and all other inputs.

        Raises:
            ModelError: ``input`` is not one text per row.
        """
        text = TensorSpec(name=self.input, dtype="str", shape=())
        if text not in inputs:
            raise ModelError(
                f"input {self.input!r} of step 'tokenize'",
                "must be one text per row",
                got=", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in inputs),
            )
        made = (TensorSpec(name=n, dtype="int64", shape=(self.length,)) for n in (IDS, MASK))
        return (*made, *(one for one in inputs if one != text))

    def open(self, files: Mapping[str, Path]) -> Tokenizing:
        """With the tokenizer loaded.

        Raises:
            MissingExtraError: the library is not installed.
            ModelError: the file is missing, is no tokenizer, or does not belong to the weights.
        """
        tokenizer = _opened(self._content(files), self.file)
        if tokenizer.get_vocab_size() != self.vocabulary:
            raise ModelError(
                f"tokenizer {self.file}",
                f"must know {self.vocabulary} tokens, as the weights do",
                got=tokenizer.get_vocab_size(),
            )
        tokenizer.enable_truncation(self.length)
        tokenizer.enable_padding(length=self.length)
        return Tokenizing(step=self, tokenizer=tokenizer)

    def _content(self, files: Mapping[str, Path]) -> bytes:
        """The bytes of the tokenizer that the weights were trained with."""
        try:
            with files[self.file].open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except (KeyError, OSError) as error:
            got = "none" if isinstance(error, KeyError) else error
            raise ModelError(f"tokenizer {self.file}", "must be there", got=got) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"tokenizer {self.file}",
                f"must be the one of the weights, sha256 {self.sha256[:12]}..",
                got=f"{digest[:12]}..",
                todo="With another tokenizer the same words would be other numbers",
            )
        return content


@value(frozen=True, kw_only=True)
class Tokenizing:
    """The step with its tokenizer. Safe to use from several threads."""

    step: Tokenize
    tokenizer: Any

    def run(self, feed: Arrays) -> dict[str, Array]:
        """Ids and mask, int64[n, length], in place of the texts.

        Raises:
            InputMismatchError: there is no such input, or it is not one text per row.
        """
        import numpy as np

        texts = self._taken(feed)
        found = [self.tokenizer.encode(self._bounded(text)) for text in texts]
        shape = (len(texts), self.step.length)
        ids = np.array([one.ids for one in found], dtype=np.int64).reshape(shape)
        mask = np.array([one.attention_mask for one in found], dtype=np.int64).reshape(shape)
        rest = {name: values for name, values in feed.items() if name != self.step.input}
        return {IDS: ids, MASK: mask, **rest}

    def fresh(self) -> Tokenizing:
        """Itself: no memory."""
        return self

    def _taken(self, feed: Arrays) -> Array:
        named, texts = f"input {self.step.input!r}", feed.get(self.step.input)
        if texts is None:
            given = ", ".join(sorted(feed)) or "none"
            raise InputMismatchError("inputs", f"must have {self.step.input}", got=given)
        if texts.ndim != 1 or dtype_of(texts) != "str":
            got = f"{dtype_of(texts)}{list(texts.shape)}"
            raise InputMismatchError(named, "must be str[n], one text per row", got=got)
        return texts

    def _bounded(self, text: str) -> str:
        """The part that is looked at, with ``?`` for halves of characters, which JSON can bring."""
        return text[: self.step.characters].encode("utf-8", "replace").decode()


def _opened(content: bytes, file: str) -> Any:
    """The library's tokenizer."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError(
            "tokenizers",
            "must be installed to run a model of texts",
            todo="pip install 'edgeloop[text]'",
        ) from error
    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(
            f"tokenizer {file}", "must be a file of the library tokenizers", got=error
        ) from error
