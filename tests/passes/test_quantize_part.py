"""What of a graph becomes int8, and of which models: programs, answers made in the graph, trees."""

import dataclasses

import numpy as np
import onnx
import pytest

import series_side
from edgeloop.errors import DataError, ModelError
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.passes.quantize import Quantize
from edgeloop.types import Model, Snapshot


@pytest.fixture(scope="module")
def waves(workplace) -> Snapshot:
    return series_side.series(workplace())


@pytest.fixture(scope="module")
def forecast(waves, workplace) -> Model:
    short = dataclasses.replace(series_side.RECIPE, epochs=5)
    return ExportOnnx().run(
        short.build(waves, workplace(snapshot=waves)), workplace(snapshot=waves)
    )


@pytest.fixture(scope="module")
def int8_forecast(forecast, waves, workplace) -> Model:
    return Quantize(calibrate=256).run(forecast, workplace(snapshot=waves))


def readers(model: Model) -> set[str]:
    """The kinds of nodes that read numbers which were int8."""
    graph = onnx.load(str(model.files["model.onnx"])).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    return {
        node.op_type
        for node in graph.node
        if "DequantizeLinear" in {made.get(name) for name in node.input}
    }


def test_what_goes_past_the_weights_to_the_answer_stays_float(int8_forecast, int8_model):
    assert {"ReduceMean", "Sub"} <= readers(int8_model)  # all of it lies before its last weights
    assert "Gemm" in readers(int8_forecast)
    assert readers(int8_forecast).isdisjoint({"Add", "Sub", "ReduceMean"})


def test_rows_to_calibrate_on_go_through_the_program(forecast, int8_forecast, waves, workplace):
    feed = waves.feed("test")
    one, other = (workplace().session(model).run(feed) for model in (forecast, int8_forecast))
    assert int8_forecast.program == forecast.program
    assert np.isnan(other["value"][:23]).all()  # the window is not yet full
    away = np.abs(one["value"] - other["value"])[23:]
    assert 0 < away.max() < series_side.SCALE


def test_without_a_row_behind_a_full_window_there_is_nothing_to_calibrate_on(
    forecast, waves, workplace
):
    path = workplace().scratch / "value-00000.npy"
    np.save(path, np.full(waves.rows, np.nan, dtype=np.float32))
    empty = dataclasses.replace(waves, files={**waves.files, path.name: path})
    with pytest.raises(DataError) as caught:
        Quantize().run(forecast, workplace(snapshot=empty))
    assert str(caught.value) == (
        "[E110] snapshot waves must have rows to calibrate on that the program answers, got none"
    )


def test_a_graph_without_weights_is_refused(trees_graph, towns, workplace):
    with pytest.raises(ModelError) as caught:
        Quantize().run(trees_graph, workplace(snapshot=towns))
    assert str(caught.value).startswith(
        "[E120] quantize must be given a graph with Conv, Gemm or MatMul, got "
    )
    assert str(caught.value).endswith("There are no weights that int8 makes smaller: leave it out")


def test_a_graph_whose_adapter_stands_beside_it_is_refused(encoder_graph, mails, workplace):
    with pytest.raises(ModelError) as caught:
        Quantize().run(encoder_graph, workplace(snapshot=mails))
    assert str(caught.value) == (
        "[E120] quantize must be given a graph that holds all its tensors, got 6 beside it, as"
        " adapter.head_bias. Ranges follow them, so that an update of them alone would no longer"
        " fit"
    )
