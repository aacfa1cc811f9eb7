"""Perplexity, divergence and speed of a language model, and when they are not measured."""

import dataclasses
import math

import numpy as np
import pytest

from edgeloop.checks import kl_divergence
from edgeloop.checks.kl_divergence import KlDivergence, divergence
from edgeloop.checks.perplexity import Perplexity
from edgeloop.checks.streaming import Timed
from edgeloop.checks.time_to_first_token import TimeToFirstToken
from edgeloop.checks.tokens_per_second import TokensPerSecond
from edgeloop.passes.gguf_quantize import GgufQuantize
from edgeloop.runtimes.llama_cpp import Scored
from edgeloop.testing import contracts
from edgeloop.types import Finding, Verdict
from llm_side import llm, session, talk  # noqa: F401


def logs(**shares: float) -> dict[int, float]:
    return {ord(name): math.log(share) for name, share in shares.items()}


def test_divergence_is_that_of_the_shared_tokens_with_all_others_as_one():
    one, other = logs(a=0.5, b=0.25), logs(a=0.25, c=0.5)
    wanted = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(one, other) == pytest.approx(wanted)
    assert divergence(one, one) == 0


def test_divergence_without_a_shared_token_is_nothing_that_can_be_told():
    assert divergence(logs(a=0.5), logs(b=0.5)) == 0


def times(first: float, rate: float, disturbed: float) -> Timed:
    firsts, rates = np.full(9, first), np.full(9, rate)
    return Timed(first_ms=firsts, per_second=rates, disturbed=disturbed, threads=1)


@pytest.mark.parametrize(
    ("disturbed", "verdict", "value"),
    [(0.0, Verdict.FAIL, 9.0), (0.2, Verdict.FAIL, 9.0), (0.3, Verdict.NOT_MEASURED, None)],
)
def test_a_slow_answer_on_a_disturbed_machine_is_not_measured(disturbed, verdict, value):
    found = TokensPerSecond(min=10).judged(times(50, 9, disturbed))
    assert (found.verdict, found.value, found.limit) == (verdict, value, ">= 10")
    found = TimeToFirstToken(max="5 ms").judged(times(9, 50, disturbed))
    assert (found.verdict, found.value, found.limit) == (verdict, value, "<= 5 ms")


def test_a_fast_answer_passes_whatever_happened_meanwhile():
    assert TokensPerSecond(min=10).judged(times(1, 11, 1.0)) == Finding(
        check="tokens_per_second",
        verdict=Verdict.PASS,
        value=11.0,
        unit="tokens/s",
        limit=">= 10",
        interval=(11.0, 11.0),
        reason="100% of the answers waited for the processor",
        evidence={"answers": 9, "threads": 1, "median": 11.0},
    )


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (Perplexity(), "the snapshot has no texts in its part 'test'"),
        (KlDivergence(), "the snapshot has no texts in its part 'test'"),
        (TokensPerSecond(), "the model's runtime gives no answer in pieces"),
        (TimeToFirstToken(), "the model's runtime gives no answer in pieces"),
    ],
)
def test_a_model_that_gives_no_text_is_not_measured(check, reason, onnx_model, snapshot, workplace):
    context = workplace(snapshot=snapshot, reference=onnx_model)
    found = check.run(onnx_model, context)
    assert (found.verdict, found.reason) == (Verdict.NOT_MEASURED, reason)


@pytest.mark.llm
@pytest.mark.parametrize(
    "check",
    [
        Perplexity(max=1000, tokens=32),
        KlDivergence(max=0.1, tokens=32),
        TokensPerSecond(min=0.1, runs=5, warmup=0),
        TimeToFirstToken(max="60 s", runs=5, warmup=0),
    ],
)
def test_each_check_keeps_the_contract(check, llm, talk, workplace):  # noqa: F811
    found = contracts.check_check(check, llm, workplace(snapshot=talk, reference=llm))
    assert found.verdict is Verdict.PASS, found


@pytest.mark.llm
def test_a_coarser_model_is_more_surprised_and_further_away(llm, talk, workplace):  # noqa: F811
    coarse = GgufQuantize(to="Q4_0", tensors=("blk.*.ffn_*",)).run(llm, workplace())
    context = workplace(snapshot=talk, reference=llm)
    far = KlDivergence(max=0.02, tokens=48).run(coarse, context)
    assert far.verdict is Verdict.FAIL
    assert KlDivergence(tokens=48).run(llm, context).value == 0
    assert Perplexity(tokens=48).run(coarse, context).value > 0


@pytest.mark.llm
def test_another_tokenizer_is_not_compared(llm, talk, workplace, monkeypatch):  # noqa: F811
    token = Scored(token=1, log=-1.0, likeliest={1: -1.0})
    told = iter([[token], [dataclasses.replace(token, token=2)]])
    monkeypatch.setattr(kl_divergence, "scored", lambda *_: next(told))
    found = KlDivergence().run(llm, workplace(snapshot=talk, reference=llm))
    assert (found.verdict, found.reason) == (
        Verdict.NOT_MEASURED,
        "the reference cuts the text into other tokens",
    )
