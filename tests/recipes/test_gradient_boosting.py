"""Boosted trees learn from numbers, texts and gaps, repeat themselves, and refuse the rest."""

import dataclasses
import json
from contextlib import contextmanager

import numpy as np
import pytest

from edgeloop.data.merge import merge
from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.errors import DataError, MissingExtraError, ModelError
from edgeloop.recipes.gradient_boosting import GradientBoosting, _weighed
from edgeloop.types import AnswerSpec, Model
from table_side import RECIPE, TOWNS, people, table


def content(model: Model) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in model.files.items()}


def told(model: Model, column: str) -> dict:
    columns = json.loads(model.files["encoding.json"].read_text())["columns"]
    return {one["name"]: one for one in columns}[column]


def answers(model: Model, inputs, workplace) -> dict[str, np.ndarray]:
    return workplace().session(model).run(inputs)


def grown(model: Model) -> str:
    """The trees of ``model.txt``, without what is said of them all."""
    text = model.files["model.txt"].read_text()
    return text[text.index("Tree=0") : text.index("end of trees")]


def with_truth(snapshot, truth: np.ndarray, workplace):
    path = workplace().scratch / "rich-00000.npy"
    np.save(path, truth)
    return dataclasses.replace(snapshot, files={**snapshot.files, path.name: path})


def right(model: Model, inputs, truth, workplace) -> float:
    return float((answers(model, inputs, workplace)["label"] == truth).mean())


def test_it_learns_what_can_be_learnt(trees, workplace):
    assert right(trees, *people(400, seed=9), workplace) > 0.85


def test_the_same_data_and_seed_give_the_same_bytes(trees, towns, workplace):
    again = RECIPE.build(towns, workplace(snapshot=towns))
    assert content(again) == content(trees)
    assert again.to_meta() == trees.to_meta()


def test_another_seed_gives_other_trees(trees, towns, workplace):
    other = RECIPE.build(towns, workplace(snapshot=towns, seed=8))
    assert content(other) != content(trees)


def test_nothing_is_learnt_from_rows_that_are_held_out(towns, trees, workplace):
    split, rich = towns.column("split"), towns.column("rich")
    other = with_truth(towns, np.where(split == 2, 1 - rich, rich), workplace)
    assert content(RECIPE.build(other, workplace(snapshot=other))) == content(trees)


def test_an_ignored_column_is_given_and_changes_no_answer(trees, workplace):
    inputs, _ = people(200, seed=9)
    turned = {**inputs, "sex": np.array(["other"] * 200, dtype=object)}
    one, other = (answers(trees, each, workplace) for each in (inputs, turned))
    assert "sex" in {spec.name for spec in trees.inputs}
    assert "sex" not in trees.notes["columns"]
    assert np.array_equal(one["probabilities"], other["probabilities"])


def test_a_text_that_was_never_seen_has_the_code_of_the_average(trees, towns):
    share = np.float32(towns.column("rich", "train").mean())
    codes = told(trees, "town")["codes"]
    assert told(trees, "town")["unseen"] == float(share)
    assert set(codes) == set(TOWNS)
    assert codes[TOWNS[0]] < share < codes[TOWNS[-1]]


def test_a_column_knows_whether_training_saw_missing_texts(towns, workplace):
    model = GradientBoosting(trees=1).build(towns, workplace(snapshot=towns))
    assert told(model, "town")["gaps"]
    assert not told(model, "sex")["gaps"]


def test_a_rare_text_has_a_code_near_the_average(workplace):
    inputs, rich = people(1000)
    alone = inputs["town"].copy()
    alone[np.flatnonzero(rich)[:3]] = "Zell"
    rare = table(workplace(), town=alone)
    model = RECIPE.build(rare, workplace(snapshot=rare))
    codes = told(model, "town")
    assert codes["unseen"] < codes["codes"]["Zell"] < 0.5


def test_balance_finds_more_of_the_rarer_class(towns, workplace):
    made = [
        GradientBoosting(trees=60, leaf_rows=5, balance=balance).build(
            towns, workplace(snapshot=towns)
        )
        for balance in (0, 1)
    ]
    inputs, rich = people(1000, seed=9)
    found = [answers(one, inputs, workplace)["label"][rich == 1].mean() for one in made]
    assert found[0] < found[1]


def test_the_weight_in_the_notes_gives_back_the_real_probability(towns, workplace):
    by_chance = np.random.default_rng(5).permutation(towns.column("rich"))
    chance = with_truth(towns, by_chance, workplace)
    model = RECIPE.build(chance, workplace(snapshot=chance))
    train, weight = chance.column("rich", "train"), model.notes["positive_weight"]
    assert weight == round((len(train) - train.sum()) / train.sum(), 6)
    p = answers(model, chance.feed("train"), workplace)["probabilities"][:, 1]
    assert p.mean() == pytest.approx(0.5, abs=0.05)
    assert (p / (p + weight * (1 - p))).mean() == pytest.approx(train.mean(), abs=0.03)


def test_training_stops_when_validation_no_longer_improves(towns, workplace):
    recipe = GradientBoosting(trees=2000, leaf_rows=5, patience=5)
    model = recipe.build(towns, workplace(snapshot=towns))
    losses = model.notes["curves"]["validation_loss"]
    assert len(losses) < 2000
    assert model.notes["trees"] == losses.index(min(losses)) + 1


def test_fine_tuning_adds_trees_keeps_codes_and_learns_a_new_town(trees, towns, workplace):
    inputs, rich = people(200, seed=4)
    inputs["town"][rich == 1] = "Zell"
    rows = merge(towns, (inputs, rich), "field:south", workplace().scratch, split=Stratified())
    tuned = RECIPE.build(rows, workplace(snapshot=rows, start=trees))
    before, after = told(trees, "town"), told(tuned, "town")
    assert before["codes"].items() < after["codes"].items()
    assert after["unseen"] == before["unseen"]
    assert grown(tuned).startswith(grown(trees).rstrip())
    assert tuned.notes["trees"] > trees.notes["trees"]
    fresh, truth = people(200, seed=5)
    fresh["town"][truth == 1] = "Zell"
    assert right(trees, fresh, truth, workplace) < right(tuned, fresh, truth, workplace)


def test_few_new_rows_weigh_as_much_as_stated(towns, workplace):
    rows = merge(towns, people(30, seed=4), "field:south", workplace().scratch, split=Stratified())
    new, weights = rows.column("profile", "train") > 0, _weighed(rows, 1.0, 0.4).weights["train"]
    assert new.mean() < 0.05
    assert weights[new].sum() / weights.sum() == pytest.approx(0.4)
    assert weights.sum() == pytest.approx(_weighed(rows, 1.0, None).weights["train"].sum())


def refused(recipe: GradientBoosting, snapshot, context) -> str:
    with pytest.raises((DataError, ModelError)) as caught:
        recipe.build(snapshot, context)
    return str(caught.value)


def test_an_ignored_column_must_exist(towns, workplace):
    assert refused(GradientBoosting(ignore=("sexx",)), towns, workplace(snapshot=towns)) == (
        "[E110] gradient_boosting.ignore must name columns of snapshot towns, and not all of them, "
        "got sexx. Columns: town, trade, age, debt, hours, sex"
    )


def test_columns_of_arrays_are_refused(workplace):
    wide = table(workplace(), age=np.zeros((1000, 2), dtype=np.float32))
    assert refused(RECIPE, wide, workplace(snapshot=wide)) == (
        "[E110] snapshot towns must have one number or text per row in each column for "
        "gradient_boosting, got age float32[2]"
    )


def test_three_classes_are_refused(workplace):
    three = table(workplace(), classes=("poor", "rich", "both"))
    assert refused(RECIPE, three, workplace(snapshot=three)) == (
        "[E110] snapshot towns must have labels of two classes for gradient_boosting, "
        "got label of 3"
    )


def test_rows_of_one_class_are_refused(workplace):
    inputs, _ = people(100)
    whole = write(
        name="alike",
        inputs=inputs,
        target=("rich", np.zeros(100, dtype=np.int64)),
        answer=AnswerSpec(kind="label", params={"classes": ["poor", "rich"]}),
        scratch=workplace().scratch,
        provenance={},
    )
    alike = Stratified().run(whole, workplace())
    assert refused(GradientBoosting(), alike, workplace(snapshot=alike)) == (
        "[E110] snapshot alike must have rows of both classes to train and to validate"
    )


def test_a_snapshot_that_is_not_split_is_refused(towns, workplace):
    files = {n: p for n, p in towns.files.items() if not n.startswith("split-")}
    whole = dataclasses.replace(towns, files=files)
    assert refused(RECIPE, whole, workplace(snapshot=whole)) == (
        "[E110] snapshot towns must be split before training. "
        "Name a split under data: in the loop file"
    )


def test_an_exported_model_is_no_start(trees_graph, towns, workplace):
    context = workplace(snapshot=towns, start=trees_graph)
    assert refused(RECIPE, towns, context) == (
        "[E120] model to start from must be a lightgbm model, got onnx. "
        "Name the recipe's own model, not one that a pass exported"
    )


def test_a_start_that_looks_at_other_columns_is_refused(trees, towns, workplace):
    recipe = GradientBoosting(ignore=("sex", "age"))
    assert refused(recipe, towns, workplace(snapshot=towns, start=trees)) == (
        "[E120] model to start from must look at the columns that ignore leaves, "
        "got town, trade, age, debt, hours. Train anew when ignore changes"
    )


def test_without_lightgbm_it_says_what_to_install(towns, workplace, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(MissingExtraError) as caught:
        RECIPE.build(towns, workplace(snapshot=towns))
    assert str(caught.value) == (
        "[E701] lightgbm must be installed for boosted trees. pip install 'edgeloop[income]'"
    )


class Notebook:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.parameters, self.steps = {}, []

    @contextmanager
    def run(self, name):
        self.name = name
        yield self

    def params(self, values):
        self.parameters |= values

    def metrics(self, values, step):
        self.steps.append((step, values))


def test_the_tracker_gets_parameters_and_the_loss_after_every_tenth_tree(towns, workplace):
    notebook = Notebook()
    model = RECIPE.build(towns, workplace(snapshot=towns, tracker=notebook))
    assert notebook.name == "gradient_boosting"
    assert (notebook.parameters["seed"], notebook.parameters["leaf_rows"]) == (7, 5)
    curve = model.notes["curves"]["validation_loss"]
    assert [step for step, _ in notebook.steps] == list(range(0, len(curve), 10))
    assert [values["validation_loss"] for _, values in notebook.steps] == curve[::10]
