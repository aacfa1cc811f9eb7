"""Every plugin that edgeloop registers keeps the contract that third parties are held to."""

import numpy as np
import pytest
from registry import registered, written

from edgeloop import plugins
from edgeloop.testing import contracts

EXAMPLES = {  # what each is made with; a plugin that is not here fails, so nobody forgets it
    ("source", "arrays.v1"): {"file": "sample.npz"},
    ("source", "builtin.v1"): {"dataset": "mnist-5k", "share": 0.02},
    ("source", "folder.v1"): {"root": "images"},
    ("split", "stratified.v1"): {"by": "label"},
    ("recipe", "image_classifier.v1"): {"epochs": 2, "width": 8, "batch": 16},
    ("recipe", "onnx_file.v1"): {"file": "own.onnx"},
    ("pass", "prune_channels.v1"): {"share": 0.5, "multiple": 2},
    ("pass", "export_onnx.v1"): {},
    ("pass", "quantize.v1"): {"calibrate": 16},
    ("check", "accuracy.v1"): {"min": 0.5},
    ("check", "accuracy_drop.v1"): {"max": 0.1},
    ("check", "disagreement.v1"): {"against": "current", "max": 0.5},
    ("check", "golden_parity.v1"): {"samples": 8},
    ("check", "latency_p95.v1"): {"max": "50 ms", "runs": 100, "warmup": 1},
    ("check", "size.v1"): {"max": "1 MB"},
    ("check", "update_bytes.v1"): {"max": "<= 1 MB"},
    ("check", "worst_class.v1"): {"min": 0.1},
    ("check", "worst_group.v1"): {"column": "label", "rows": 2},
    ("runtime", "torch.v1"): {},
    ("runtime", "onnx.v1"): {},
    ("answer", "label.v1"): {"classes": ["dark", "light", "left"]},
}
ELSEWHERE = {  # shown other data than images: the file that holds them to the contract
    ("split", "by_time.v1"): "test_series_plugins.py",
    ("recipe", "forecaster.v1"): "test_series_plugins.py",
    ("check", "scaled_error.v1"): "test_series_plugins.py",
    ("check", "coverage.v1"): "test_series_plugins.py",
    ("answer", "series.v1"): "test_series_plugins.py",
    ("answer", "number.v1"): "test_series_plugins.py",
    ("recipe", "gradient_boosting.v1"): "test_trees.py",
    ("pass", "export_trees.v1"): "test_trees.py",
    ("runtime", "lightgbm.v1"): "test_trees.py",
    ("recipe", "detector.v1"): "test_boxes_plugins.py",
    ("check", "mean_average_precision.v1"): "test_boxes_plugins.py",
    ("answer", "boxes.v1"): "test_boxes_plugins.py",
    ("recipe", "litert_file.v1"): "test_litert_plugins.py",
    ("runtime", "litert.v1"): "test_litert_plugins.py",
    ("recipe", "text_encoder.v1"): "test_texts.py",
    ("answer", "vector.v1"): "test_texts.py",
    ("recipe", "gguf_file.v1"): "../recipes/test_gguf_file.py",
    ("pass", "gguf_quantize.v1"): "../passes/test_gguf_quantize.py",
    ("runtime", "gguf.v1"): "../runtimes/test_llama_cpp.py",
    ("answer", "text.v1"): "../answers/test_text.py",
    ("check", "perplexity.v1"): "../checks/test_language_checks.py",
    ("check", "kl_divergence.v1"): "../checks/test_language_checks.py",
    ("check", "tokens_per_second.v1"): "../checks/test_language_checks.py",
    ("check", "time_to_first_token.v1"): "../checks/test_language_checks.py",
}
TAKES_ONNX = {"quantize.v1"}  # passes of the exported graph; the others take the torch model
FOUND = registered()


def made(kind: str, name: str) -> object:
    assert (kind, name) in EXAMPLES, f"add an example of {kind} {name} to {__name__}.EXAMPLES"
    return plugins.get(kind, name)(**EXAMPLES[kind, name])


def of(kind: str) -> list[str]:
    return [name for k, name in FOUND if k == kind and (k, name) not in ELSEWHERE]


def test_every_plugin_written_on_disk_is_found_by_a_fresh_process():
    assert sorted(FOUND) == sorted(written())
    assert {kind for kind, _ in FOUND} == set(plugins.KINDS)


def test_no_example_is_left_of_a_plugin_that_is_gone():
    assert set(EXAMPLES) <= set(FOUND)


@pytest.mark.parametrize("name", of("source"))
def test_a_source_gives_a_whole_snapshot_twice(name, workplace):
    contracts.check_source(made("source", name), workplace())


@pytest.mark.parametrize("name", of("split"))
def test_a_split_puts_every_row_into_one_part(name, snapshot, everything):
    contracts.check_split(made("split", name), snapshot, everything())


@pytest.mark.parametrize("name", of("recipe"))
def test_a_recipe_builds_the_same_model_twice(name, snapshot, onnx_model, everything):
    assert (
        onnx_model.format == "onnx"
    )  # it lies in the loop file's folder, for recipes that take one
    contracts.check_recipe(made("recipe", name), snapshot, everything())


@pytest.mark.parametrize("name", of("pass"))
def test_a_pass_gives_a_new_model_and_leaves_the_old(name, torch_model, onnx_model, everything):
    model = onnx_model if name in TAKES_ONNX else torch_model
    contracts.check_pass(made("pass", name), model, everything())


@pytest.mark.parametrize("name", of("check"))
def test_a_check_finds_something_or_says_why_not(name, int8_model, everything):
    contracts.check_check(made("check", name), int8_model, everything())


@pytest.mark.parametrize("name", of("check"))
def test_a_check_without_a_release_to_compare_with_still_gives_a_finding(
    name, int8_model, snapshot, torch_model, workplace
):
    context = workplace(snapshot=snapshot, reference=torch_model)
    contracts.check_check(made("check", name), int8_model, context)


@pytest.mark.parametrize("name", of("runtime"))
def test_a_runtime_answers_rows_and_refuses_what_does_not_fit(
    name, torch_model, onnx_model, snapshot, workplace
):
    model = {"torch.v1": torch_model, "onnx.v1": onnx_model}[name]
    rows = {key: values[:4] for key, values in snapshot.feed().items()}
    contracts.check_runtime(made("runtime", name), model, rows, workplace())


@pytest.mark.parametrize("name", of("answer"))
def test_an_answer_kind_judges_answers(name):
    truth = np.array([0, 1, 2, 1])
    shares = np.full((4, 3), 0.1, dtype=np.float32)
    shares[np.arange(4), [0, 1, 2, 2]] = 0.8
    answers = {"probabilities": shares, "label": shares.argmax(axis=1)}
    contracts.check_answer_kind(made("answer", name), answers, truth)
