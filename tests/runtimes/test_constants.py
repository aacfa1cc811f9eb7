"""A graph is loaded with the tensors that its program names, all of them and no others."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeloop.errors import ModelError
from edgeloop.runtimes.program import constants, files, needs
from edgeloop.types import Model
from text_side import letters

NAME = "adapter.safetensors"
ROWS = {"text": letters(16)[0]}


@pytest.fixture
def other(encoder_graph, tmp_path):
    """The model with an adapter of one's own making, given as a change of the right one."""

    def make(change) -> Model:
        path = tmp_path / NAME
        save_file(change(load_file(encoder_graph.files[NAME])), path)
        return dataclasses.replace(encoder_graph, files={**encoder_graph.files, NAME: path})

    return make


def refused(model: Model, workplace) -> str:
    with pytest.raises(ModelError) as caught:
        workplace().session(model)
    return str(caught.value)


def test_the_same_graph_with_another_adapter_gives_other_answers(encoder_graph, other, workplace):
    turned = other(lambda held: {name: -values for name, values in held.items()})
    before = workplace().session(encoder_graph).run(ROWS)["probabilities"]
    after = workplace().session(turned).run(ROWS)["probabilities"]
    assert np.abs(before - after).max() > 0.5


def test_an_adapter_that_lacks_a_tensor_is_refused(other, workplace):
    lacking = other(lambda held: {n: v for n, v in held.items() if n != "adapter.head_bias"})
    assert "'adapter.head_bias' outside" in refused(lacking, workplace)


def test_an_adapter_with_a_tensor_that_the_graph_does_not_know_is_refused(other, workplace):
    said = refused(other(lambda held: {**held, "strange": held["adapter.head_bias"]}), workplace)
    assert "existing initializer with name strange" in said


def test_an_adapter_of_another_shape_is_refused(other, workplace):
    said = refused(other(lambda held: {n: v[:1].copy() for n, v in held.items()}), workplace)
    assert said.startswith("[E120] model file model.onnx must be a whole ONNX graph")
    assert "dimensions do not match" in said


def test_an_adapter_that_is_cut_short_or_missing_is_named(encoder_graph, tmp_path, workplace):
    whole = encoder_graph.files[NAME].read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-5])
    rule = f"[E120] model file {NAME} must hold tensors (safetensors), 268435456 bytes or fewer"
    todo = "Build the model again; `edgeloop verify` tells which blobs are broken"
    for path, got in ((tmp_path / NAME, "incomplete"), (None, "none")):
        kept = {name: one for name, one in encoder_graph.files.items() if name != NAME}
        given = kept if path is None else {**kept, NAME: path}
        said = refused(dataclasses.replace(encoder_graph, files=given), workplace)
        assert said.startswith(f"{rule}, got ")
        assert got in said
        assert said.endswith(todo)


def test_a_device_must_know_the_steps_and_a_pass_keeps_their_files(encoder_graph):
    assert needs(encoder_graph.program) == ("constants", "tokenize")
    assert sorted(files(encoder_graph)) == [NAME, "tokenizer.json"]
    assert sorted(constants(encoder_graph)) == sorted(load_file(encoder_graph.files[NAME]))
