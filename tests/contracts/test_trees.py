"""What works on columns of texts and numbers keeps the contract too."""

import dataclasses

from edgeloop.passes.export_trees import ExportTrees
from edgeloop.runtimes.lightgbm import LightgbmRuntime
from edgeloop.testing import contracts
from table_side import RECIPE, people


def test_a_recipe_of_trees_builds_the_same_model_twice(towns, workplace):
    contracts.check_recipe(RECIPE, towns, workplace(snapshot=towns))


def test_the_export_of_trees_gives_a_new_model_and_leaves_the_old(trees, towns, workplace):
    context = dataclasses.replace(workplace(), snapshot=towns, reference=trees)
    contracts.check_pass(ExportTrees(), trees, context)


def test_the_runtime_of_trees_answers_rows_and_refuses_what_does_not_fit(trees, workplace):
    contracts.check_runtime(LightgbmRuntime(), trees, people(8)[0], workplace())
