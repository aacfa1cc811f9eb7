"""Int8 answers nearly as float does, is made of training rows alone, and repeats itself."""

import dataclasses

import numpy as np
import onnx
import pytest

from edgeloop.data.augment import Augmentation, changed
from edgeloop.errors import DataError, ModelError
from edgeloop.passes.quantize import Quantize
from edgeloop.types import TensorSpec
from model_side import bars


def content(model) -> bytes:
    return model.files["model.onnx"].read_bytes()


def test_int8_is_smaller_and_answers_nearly_as_float_does(onnx_model, int8_model, workplace):
    images, _ = bars(90, seed=9)
    one, other = (workplace().session(m).run({"image": images}) for m in (onnx_model, int8_model))
    assert len(content(int8_model)) < len(content(onnx_model))
    assert np.abs(one["probabilities"] - other["probabilities"]).max() < 0.1


def test_the_same_rows_and_seed_give_the_same_bytes(onnx_model, int8_model, snapshot, workplace):
    again = Quantize(calibrate=64).run(onnx_model, workplace(snapshot=snapshot))
    assert content(again) == content(int8_model)


def test_ranges_come_from_training_rows_alone(onnx_model, int8_model, snapshot, workplace):
    changed_rows = snapshot.column("image").copy()
    changed_rows[snapshot.column("split") != 0] = 255
    path = workplace().scratch / "image-00000.npy"
    np.save(path, changed_rows)
    other = dataclasses.replace(snapshot, files={**snapshot.files, path.name: path})
    again = Quantize(calibrate=64).run(onnx_model, workplace(snapshot=other))
    assert content(again) == content(int8_model)


def test_every_weight_is_int8_and_nothing_before_the_answer_is_left_in_float(int8_model):
    graph = onnx.load(str(int8_model.files["model.onnx"])).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type in {"Conv", "Gemm"}:
            assert [made[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2
    weights = [t for t in graph.initializer if t.name.endswith("weight_quantized")]
    assert len(weights) == 8
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}


def test_narrow_weights_keep_to_seven_bits(int8_model):
    graph = onnx.load(str(int8_model.files["model.onnx"])).graph
    for tensor in graph.initializer:
        if tensor.name.endswith("weight_quantized"):
            assert np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64


def test_a_range_without_room_saturates_on_brighter_images_and_one_with_room_does_not(
    onnx_model, snapshot, workplace
):
    images, labels = bars(90, seed=9)
    bright = changed(images // 2, offset=120.0)
    room = Augmentation(brightness=0.6, contrast=0.5, turn=0, shift=0)
    right = []
    for augment in (None, room):
        context = workplace(snapshot=snapshot)
        model = Quantize(calibrate=64, augment=augment).run(onnx_model, context)
        right.append((context.session(model).run({"image": bright})["label"] == labels).mean())
    assert right[0] < 0.8 < 0.95 < right[1]


def test_a_percentile_cuts_ranges_and_prints_nothing(onnx_model, snapshot, workplace, capsys):
    quantize = Quantize(calibrate=64, method="percentile", percentile=99)
    quantize.run(onnx_model, workplace(snapshot=snapshot))
    assert capsys.readouterr() == ("", "")


def test_a_torch_model_is_not_quantized(torch_model, snapshot, workplace):
    with pytest.raises(ModelError) as caught:
        Quantize().run(torch_model, workplace(snapshot=snapshot))
    assert str(caught.value) == (
        "[E120] quantize must be given an onnx model, got torch. Place export_onnx before it"
    )


def test_rows_that_are_no_images_are_not_augmented(onnx_model, snapshot, workplace):
    rows = np.zeros((snapshot.rows, 4), dtype=np.float32)
    path = workplace().scratch / "image-00000.npy"
    np.save(path, rows)
    column = TensorSpec(name="image", dtype="float32", shape=(4,))
    other = dataclasses.replace(
        snapshot, files={**snapshot.files, path.name: path}, columns=(column,)
    )
    with pytest.raises(DataError) as caught:
        Quantize(augment=Augmentation()).run(onnx_model, workplace(snapshot=other))
    assert str(caught.value) == "[E110] augment must have images as input, got image"
