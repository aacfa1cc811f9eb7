"""A language model and a few prompts, for the tests that the marker ``llm`` names."""

import numpy as np
import pytest

from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.recipes.gguf_file import GgufFile
from edgeloop.runtimes.program.generate import Generate
from edgeloop.types import AnswerSpec, Model, Snapshot

MOST = 8
TURN = "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = (
    "Say hello.", "What is two and two?", "Name a colour.", "Where is Paris?", "Is snow cold?",
    "Name a fruit.", "What is a dog?", "Count to five.", "Who wrote Hamlet?", "Say goodbye.",
)  # fmt: skip


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.fixture(scope="session")
def talk(workplace) -> Snapshot:
    whole = write(
        name="talk",
        inputs={"prompt": texts(*PROMPTS)},
        target=("reply", texts(*["Yes."] * len(PROMPTS))),
        answer=AnswerSpec(kind="text", params={"most": MOST}),
        scratch=workplace().scratch,
        provenance={},
    )
    return Stratified(test=0.4, validation=0.1).run(whole, workplace())


@pytest.fixture(scope="session")
def llm(talk, workplace) -> Model:
    recipe = GgufFile(
        builtin="smollm2-135m-instruct", template=TURN, generate=Generate(most=MOST, context=256)
    )
    return recipe.build(talk, workplace(snapshot=talk))


@pytest.fixture(scope="session")
def session(llm, workplace):
    return workplace().session(llm)
