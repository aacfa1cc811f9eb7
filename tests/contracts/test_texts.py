"""What works on texts keeps the contract too."""

import dataclasses

import numpy as np

from edgeloop.answers.vector import Vector
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.runtimes.onnx import OnnxRuntime
from edgeloop.testing import contracts
from text_side import RECIPE, letters


def test_a_recipe_of_texts_builds_the_same_model_twice(tiny, mails, workplace):
    contracts.check_recipe(RECIPE, mails, workplace(snapshot=mails))


def test_the_export_of_an_encoder_gives_a_new_model_and_leaves_the_old(encoder, mails, workplace):
    context = dataclasses.replace(workplace(), snapshot=mails, reference=encoder)
    contracts.check_pass(ExportOnnx(), encoder, context)


def test_the_runtime_of_an_encoder_answers_texts_and_refuses_what_does_not_fit(
    encoder_graph, workplace
):
    rows = {"text": letters(8)[0]}
    contracts.check_runtime(OnnxRuntime(), encoder_graph, rows, workplace())


def test_the_answer_kind_vector_judges_answers():
    drawn = np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32)
    contracts.check_answer_kind(Vector(size=5), {"vector": drawn}, drawn[::-1].copy())
