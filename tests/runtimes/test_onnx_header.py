"""An ONNX file is looked through within bounds before a runtime opens it."""

import onnx
import pytest
from onnx import TensorProto, helper

from edgeloop.errors import ModelError
from edgeloop.runtimes.onnx_header import check

ADVICE = ". It may be cut short, need files beside it, or use operators of another domain"


def graph(tensors=(), nodes=(), **about):
    body = helper.make_graph(list(nodes), "g", [], [], list(tensors))
    return helper.make_model(body, ir_version=9, **about)


def refused(model) -> str:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ModelError) as caught:
        check(content, "model.onnx", {"beside"})
    return str(caught.value)


def outside(name="w", place="/etc/passwd"):
    tensor = TensorProto(name=name, data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    return tensor


def test_a_tensor_in_another_file_is_refused_wherever_it_hides():
    told = (
        "[E120] model file model.onnx must be a whole ONNX graph, with its tensors in it,"
        f" got 'w' outside{ADVICE}"
    )
    constant = helper.make_node("Constant", [], ["c"], value=outside())
    branch = helper.make_graph([constant], "b", [], [])
    split = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    sparse = onnx.SparseTensorProto(values=outside())
    in_it = graph()
    in_it.graph.sparse_initializer.append(sparse)
    function = helper.make_function(
        "own", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)]
    )
    for model in (
        graph([outside()]),
        graph(nodes=[constant]),
        graph(nodes=[split]),
        in_it,
        graph(functions=[function]),
    ):
        assert refused(model) == told
    assert check(graph([outside("beside")]).SerializeToString(), "model.onnx", {"beside"}) is None


def test_operators_of_another_domain_are_refused_unless_the_file_defines_them():
    node = helper.make_node("Do", [], ["c"], domain="acme")
    assert refused(graph(nodes=[node])) == (
        "[E120] model file model.onnx must use operators of known domains, got acme" + ADVICE
    )
    constant = helper.make_node("Constant", [], ["c"], value_float=1.0)
    function = helper.make_function("acme", "Do", [], ["c"], [constant], [])
    check(graph(nodes=[node], functions=[function]).SerializeToString(), "model.onnx")


def test_a_tensor_that_states_more_than_it_holds_is_refused():
    large = TensorProto(name="w", data_type=1, dims=[1 << 40, 4], raw_data=b"1234")
    text = refused(graph([large]))
    assert text.startswith("[E120] model file model.onnx must hold the whole tensor 'w', got [")
    minus = TensorProto(name="w", data_type=1, dims=[-1], raw_data=b"1234")
    assert "must hold the whole tensor 'w'" in refused(graph([minus]))


def test_what_is_nested_without_end_is_refused():
    body = helper.make_graph([], "g", [], [])
    for _ in range(20):
        node = helper.make_node("If", ["x"], ["y"], then_branch=body)
        body = helper.make_graph([node], "g", [], [])
    assert refused(helper.make_model(body)) == (
        "[E120] model file model.onnx must be nested at most 40 deep, got more" + ADVICE
    )


@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x3a\x7f", b"\x0b", b"\x3a"])
def test_bytes_that_are_no_graph_are_refused(content):
    assert "must be a whole ONNX graph" in refused(content)
