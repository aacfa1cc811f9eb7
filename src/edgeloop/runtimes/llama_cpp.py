"""Run a language model in GGUF form with llama.cpp on the processor."""

from __future__ import annotations

import json
import math
import secrets
import threading
from dataclasses import dataclass as value
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pydantic.dataclasses import dataclass

from edgeloop.errors import InputMismatchError, MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes.gguf_header import read_header
from edgeloop.runtimes.program import opened
from edgeloop.runtimes.program.generate import GENERATE, Generate
from edgeloop.runtimes.program.prompt import Prompt, Prompted
from edgeloop.runtimes.signature import check_inputs

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from edgeloop.types import Array, Arrays, Budget, Json, Model, TensorSpec

NAME = "model.gguf"
SILENT = -1  # llama.cpp's verbosity


@value(frozen=True, kw_only=True)
class Scored:
    """A token of a text: the natural logarithms of what the model gave it, and its likeliest."""

    token: int
    log: float  # of the token that the text has, over the whole vocabulary
    likeliest: Mapping[int, float]  # token -> logarithm


@runtime_checkable
class Scores(Protocol):
    """A session that can say how likely a text is."""

    def score(self, text: str, most: int, likeliest: int) -> list[Scored]: ...  # noqa: D102


@register("runtime", "gguf.v1")
@dataclass(frozen=True, kw_only=True)
class LlamaCpp:
    """Loads ``model.gguf`` of a model whose format is ``gguf``; its program: prompt, generate.

    The file is mapped, so that sessions of the same file share its pages, but for tensors that
    llama.cpp packs anew for the processor that it finds.
    """

    libraries: ClassVar[tuple[str, ...]] = ("xllamacpp",)

    def load(self, model: Model, budget: Budget) -> LlamaSession:
        """A session that uses ``budget.threads`` threads.

        The header is read within bounds before llama.cpp maps the file.

        Raises:
            MissingExtraError: xllamacpp is not installed.
            ModelError: the file is missing, cut short or broken, is of an architecture that
                llama.cpp does not know, or the program is another than prompt, generate.
        """
        prompt, generate = _program(model)
        read_header(model.files.get(NAME), NAME)
        key = secrets.token_hex(16)
        server = _opened(model.files[NAME], generate, budget, key)
        return LlamaSession(server, key, model.inputs, prompt, generate)


class LlamaSession:
    """A loaded language model. Safe to use from several threads, one answer at a time.

    The prompt's constant beginning is worked out once and kept. Behind each answer llama.cpp is
    put back to exactly that, so that an answer depends on its own row alone: what the prompt
    before had in common would change the rounding.
    """

    def __init__(
        self,
        server: Any,
        key: str,
        inputs: tuple[TensorSpec, ...],
        prompt: Prompted,
        generate: Generate,
    ) -> None:
        self._server, self._key, self._inputs = server, key, inputs
        self._prompt, self._generate = prompt, generate
        self._lock = threading.Lock()
        self._rewind()  # once to work the beginning out ...
        self._rewind()  # ... and once as it will be behind every answer

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """``text`` str[n], ``tokens`` int64[n] and ``probability`` float32[n] (geometric mean).

        Raises:
            InputMismatchError: a name, dtype or shape is not the model's, or a prompt is empty, too
                long, or fills the context.
        """
        said = [self._answer(row, text) for row, text in enumerate(self._prompts(inputs))]
        return _outputs(said)

    def stream(self, inputs: Arrays) -> Streamed:
        """The answer to one row, in pieces as they come. Closing the iterator stops the model.

        Raises:
            InputMismatchError: as for :meth:`run`, or there is not one row.
        """
        texts = self._prompts(inputs)
        if len(texts) != 1:
            raise InputMismatchError("inputs to stream", "must have one row", got=len(texts))
        return Streamed(self._chunks(texts[0]))

    def fresh(self) -> LlamaSession:
        """Itself: nothing of an answer is kept."""
        return self

    def score(self, text: str, most: int, likeliest: int) -> list[Scored]:
        """Each of the first ``most`` tokens of ``text`` behind the first, in pieces of the context.

        llama.cpp's server tells probabilities only of tokens that it draws. So a grammar leaves it
        just the text's next token each time, whose probability is told over the whole vocabulary
        as it was before the grammar.
        """
        tokens, piece = self.tokens(text)[:most], self._generate.context - 1
        parts = (tokens[start : start + piece] for start in range(0, len(tokens), piece))
        return [one for part in parts if len(part) > 1 for one in self._scored(part, likeliest)]

    def tokens(self, text: str) -> list[int]:
        """The model's tokens of ``text``."""
        import urllib3

        address = f"{self._server.listening_address}/tokenize"
        body = json.dumps({"content": text, "add_special": False, "parse_special": False})
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        with urllib3.PoolManager() as pool:
            answer = pool.request("POST", address, body=body, headers=headers)
        found: list[int] = json.loads(answer.data)["tokens"]
        return found

    def _prompts(self, inputs: Arrays) -> Array:
        check_inputs(self._inputs, inputs)
        return self._prompt.run(inputs)[self._prompt.step.input]

    def _answer(self, row: int, text: str) -> tuple[str, int, float]:
        with self._lock:
            said = self._server.handle_completions({**self._request(text), "logprobs": 1})
            _raise(said, row)
            self._rewind()
        choice = said["choices"][0]
        return choice["text"], said["usage"]["completion_tokens"], _mean(_logs(choice))

    def _chunks(self, text: str) -> Generator[Json]:
        chunks: SimpleQueue[Json] = SimpleQueue()
        closed = threading.Event()
        request = {**self._request(text), "logprobs": 1, "stream": True}

        def hear(chunk: Json) -> bool:
            chunks.put(chunk)
            return closed.is_set()

        def work() -> None:
            with self._lock:
                try:
                    self._server.handle_completions(request, hear)
                    self._rewind()
                finally:
                    chunks.put(None)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            while (chunk := chunks.get()) is not None:
                _raise(chunk, 0)
                yield chunk
        finally:
            closed.set()
            worker.join()

    def _request(self, text: str) -> dict[str, Json]:
        step = self._generate
        return {
            "prompt": text,
            "max_tokens": step.most,
            "temperature": step.temperature,
            "seed": step.seed,
            "stop": list(step.stop),
            "cache_prompt": True,
        }

    def _rewind(self) -> None:
        """Leave llama.cpp with the tokens of the prompt's beginning and nothing else."""
        beginning = {"prompt": self._prompt.beginning, "max_tokens": 0, "cache_prompt": True}
        self._server.handle_completions(beginning)

    def _scored(self, tokens: list[int], likeliest: int) -> list[Scored]:
        grammar = "root ::= " + " ".join(f"<[{token}]>" for token in tokens[1:])
        with self._lock:
            said = self._server.handle_completions(
                {
                    "prompt": tokens[:1],
                    "max_tokens": len(tokens) - 1,
                    "temperature": 0,
                    "ignore_eos": True,
                    "logprobs": likeliest,
                    "grammar": grammar,
                    "cache_prompt": False,
                }
            )
            self._rewind()
        _raise(said, 0)
        return [_scored(one) for one in said["choices"][0]["logprobs"]["content"]]


class Streamed:
    """The answer to one row in pieces; one reader."""

    def __init__(self, chunks: Generator[Json]) -> None:
        self._chunks = chunks
        self._texts: list[str] = []
        self._logs: list[float] = []
        self._tokens: int | None = None  # as llama.cpp counts them, once all are there

    def __iter__(self) -> Streamed:
        return self

    def __next__(self) -> str:
        while True:
            chunk = next(self._chunks)
            choice = chunk["choices"][0]
            self._logs += _logs(choice)
            self._tokens = chunk.get("usage", {}).get("completion_tokens")
            if choice["text"]:
                self._texts.append(choice["text"])
                return self._texts[-1]

    def close(self) -> None:
        """Stop the model, unless it has ended."""
        self._chunks.close()

    def answers(self) -> dict[str, Array]:
        """What was given so far, as :meth:`LlamaSession.run` gives a whole answer."""
        tokens = len(self._logs) if self._tokens is None else self._tokens
        return _outputs([("".join(self._texts), tokens, _mean(self._logs))])


def _outputs(said: Sequence[tuple[str, int, float]]) -> dict[str, Array]:
    """Text, tokens and probability of each row as a model's outputs."""
    import numpy as np

    texts, tokens, probabilities = zip(*said, strict=True) if said else ((), (), ())
    return {
        "text": np.array(texts, dtype=object),
        "tokens": np.array(tokens, dtype=np.int64),
        "probability": np.array(probabilities, dtype=np.float32),
    }


def _logs(choice: Json) -> list[float]:
    """The logarithm of each token's probability."""
    return [one["logprob"] for one in (choice["logprobs"] or {"content": []})["content"]]


def _mean(logs: Sequence[float]) -> float:
    """The geometric mean of probabilities, by their logarithms; 0 of none."""
    return math.exp(sum(logs) / len(logs)) if logs else 0.0


def _scored(told: Json) -> Scored:
    likeliest = {one["id"]: one["logprob"] for one in told["top_logprobs"]}
    return Scored(token=told["id"], log=told["logprob"], likeliest=likeliest)


def _raise(said: Json, row: int) -> None:
    """Raise what llama.cpp refused, if it did."""
    fault = said.get("error")
    if fault is None:
        return
    if fault.get("type") == "exceed_context_size_error":
        raise InputMismatchError(
            f"prompt of row {row}",
            f"must have fewer than {fault['n_ctx']} tokens, its template included",
            got=f"{fault['n_prompt_tokens']} tokens",
        )
    raise InputMismatchError(
        f"prompt of row {row}", "must be one that llama.cpp takes", got=fault["message"]
    )


def _program(model: Model) -> tuple[Prompted, Generate]:
    """The two steps of a model's program, the first opened."""
    steps = [opened(declared) for declared in model.program]
    match steps:
        case [Prompt() as prompt, Generate() as generate]:
            prompt.gives(model.inputs)
            return prompt.open(model.files), generate
    raise ModelError(
        "program of a gguf model",
        f"must be the steps 'prompt' and {GENERATE!r}",
        got=", ".join(str(declared.get("step")) for declared in model.program) or "none",
    )


def _opened(path: Path, generate: Generate, budget: Budget, key: str) -> Any:
    """llama.cpp with the file loaded. It listens on loopback, to whoever has ``key`` alone."""
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError(
            "xllamacpp", "must be installed to run a GGUF file", todo="pip install 'edgeloop[llm]'"
        ) from error
    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.model_alias = str(path), {"model"}  # the alias is told to strangers
    wanted.api_keys, wanted.endpoint_slots, wanted.ui = [key], False, False
    wanted.n_ctx, wanted.n_parallel, wanted.n_gpu_layers = generate.context, 1, 0
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = budget.threads
    wanted.fit_params, wanted.warmup, wanted.cache_ram_mib = False, False, 0
    wanted.verbosity = SILENT
    try:
        return xllamacpp.Server(wanted)
    except RuntimeError as error:
        raise ModelError(
            f"model file {NAME}",
            "must be a GGUF file that llama.cpp can run",
            got=error,
            todo="Its architecture may be unknown to this version, or memory too small",
        ) from error
