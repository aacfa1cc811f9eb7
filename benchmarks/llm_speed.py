"""A language model through our runtime against the same library called directly, interleaved.

Both have the same file, threads, context, template and prompts, and both keep what the template
begins with. Ours also checks and sets each prompt, and goes back to that beginning behind each
answer. The library keeps every prompt: those that have more in common than the template (a talk
that grows, the same name first) begin sooner there, and answers depend on what was asked before.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgeloop.data.sets import who_speaks
from edgeloop.errors import DataSourceError, MissingExtraError
from edgeloop.plugins import Context
from edgeloop.recipes.gguf_file import TURN, GgufFile
from edgeloop.runtimes.llama_cpp import NAME
from edgeloop.runtimes.program.generate import Generate
from edgeloop.runtimes.program.prompt import PLACE
from edgeloop.types import Budget, Model
from figure import Figure, Measured, main, not_measured

ROUNDS = 40
THREADS = 1
MOST = who_speaks.MOST
LEAST_RATE, MOST_WAIT = 0.95, 1.05  # of the library's
TEMPLATE = TURN.replace(PLACE, f"Tell me a long story about this line:\n{PLACE}")  # MOST tokens


def measure(work: Path) -> Measured:
    """Stream the same answers through both, in an order drawn for each prompt."""
    try:
        prompts, model = _world(work)
        ways = {"ours": _ours(model), "directly": _directly(model)}
    except (MissingExtraError, DataSourceError) as fault:  # the extra llm, weights or text
        return Measured(figures=(not_measured("SmolLM2 through our runtime", str(fault)),))
    for stream in ways.values():
        _timed(stream(prompts[0]))
    generator = random.Random(0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    waits: dict[str, list[float]] = {name: [] for name in ways}
    for prompt in prompts[1 : ROUNDS + 1]:
        for name in generator.sample(list(ways), len(ways)):
            wait, rate = _timed(ways[name](prompt))
            waits[name].append(wait)
            rates[name].append(rate)
    samples = {f"tokens/s {name}": values for name, values in rates.items()}
    samples |= {f"first ms {name}": values for name, values in waits.items()}
    return Measured(figures=(_rate(rates), _wait(waits)), samples=samples)


def _world(work: Path) -> tuple[list[str], Model]:
    def scratch(name: str) -> Context:
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        return Context(scratch=folder)

    snapshot = who_speaks.load(scratch("rows"))
    recipe = GgufFile(
        builtin="smollm2-135m-instruct",
        template=TEMPLATE,
        generate=Generate(most=MOST, context=512),
    )
    asked = (text.removesuffix(who_speaks.QUESTION) for text in snapshot.column("prompt"))
    lines = [text.partition(": ")[2] for text in asked]  # names would be in common
    random.Random(1).shuffle(lines)
    return lines, recipe.build(snapshot, scratch("model"))


def _ours(model: Model) -> Callable[[str], Iterable[float]]:
    session: Any = Context(scratch=Path()).session(model, Budget(threads=THREADS))

    def stream(prompt: str) -> Iterable[float]:
        yield time.perf_counter()
        for _ in session.stream({"prompt": np.array([prompt], dtype=object)}):
            yield time.perf_counter()

    return stream


def _directly(model: Model) -> Callable[[str], Iterable[float]]:
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.n_ctx, wanted.n_parallel = str(model.files[NAME]), 512, 1
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = THREADS
    wanted.n_gpu_layers, wanted.verbosity = 0, -1
    server = xllamacpp.Server(wanted)

    def stream(prompt: str) -> Iterable[float]:
        text, times = TEMPLATE.replace(PLACE, prompt), [time.perf_counter()]
        body = {"prompt": text, "max_tokens": MOST, "temperature": 0, "stream": True}
        server.handle_completions(body, lambda _: times.append(time.perf_counter()))
        return times[:-1]  # the last chunk has no token: it says that the answer is over

    return stream


def _timed(times: Iterable[float]) -> tuple[float, float]:
    """Milliseconds to the first piece, and pieces per second behind it."""
    began, first, *later = times
    return (first - began) * 1000, len(later) / (later[-1] - first)


def _ratio(values: dict[str, list[float]]) -> float:
    """Median of the ratios of pairs, which saw the same minute of this machine."""
    return median(a / b for a, b in zip(values["ours"], values["directly"], strict=True))


def _rate(rates: dict[str, list[float]]) -> Figure:
    ratio = _ratio(rates)
    return Figure(
        what="tokens per second, SmolLM2 135M Q4_1, ours over the library directly",
        value=f"{ratio:.3f} (n={ROUNDS} pairs)",
        target=f"{LEAST_RATE} or more",
        met=ratio >= LEAST_RATE,
        parts=tuple(f"{name}: median {median(v):.1f} tokens/s" for name, v in rates.items()),
    )


def _wait(waits: dict[str, list[float]]) -> Figure:
    ratio = _ratio(waits)
    return Figure(
        what="time to first token, SmolLM2 135M Q4_1, ours over the library directly",
        value=f"{ratio:.3f} (n={ROUNDS} pairs)",
        target=f"{MOST_WAIT} or less",
        met=ratio <= MOST_WAIT,
        parts=tuple(f"{name}: median {median(v):.0f} ms" for name, v in waits.items()),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
