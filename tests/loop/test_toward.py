"""Recipe and passes that go toward the release that is out, and a run that stays itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.loop.file import load_loop
from edgeloop.loop.origins import built_model, learned_rows
from edgeloop.loop.runner import run_loop
from edgeloop.plugins import register
from edgeloop.release.bundle import BundleInfo
from edgeloop.store.artifacts import Store
from edgeloop.types import Finding, Verdict


@register("pass", "toy_near.v1")
@dataclass(frozen=True, kw_only=True)
class ToyNear:
    """Note how sharp the release is that it goes toward."""

    toward: str = ""
    needs_by_field: ClassVar[dict[str, tuple[str, ...]]] = {"toward": ("current",)}

    def run(self, model, context):
        told = json.loads(model.files["toy.json"].read_text())
        near = context.current and json.loads(context.current.files["toy.json"].read_text())
        path = context.scratch / "toy.json"
        path.write_text(json.dumps({**told, "near": near["sharpness"] if near else None}))
        return replace(model, files={"toy.json": path})


@register("recipe", "toy_tuned.v1")
@dataclass(frozen=True, kw_only=True)
class ToyTuned:
    """Twice as sharp as the model that it starts from."""

    toward: str = ""
    tries: int = 0
    needs: ClassVar[tuple[str, ...]] = ("start",)
    needs_by_field: ClassVar[dict[str, tuple[str, ...]]] = {"toward": ("current",)}

    def build(self, snapshot, context):
        from toy_recipe import ToyRecipe

        model = ToyRecipe().build(snapshot, replace(context, start=None))
        if context.start is None:
            return model
        told = json.loads(context.start.files["toy.json"].read_text())
        path = model.files["toy.json"]
        path.write_text(json.dumps({**told, "sharpness": told["sharpness"] * 2}))
        return model


@register("check", "toy_before.v1")
@dataclass(frozen=True, kw_only=True)
class ToyBefore:
    """Count the releases before."""

    needs: ClassVar[tuple[str, ...]] = ("current",)

    def run(self, model, context):
        count = len(context.earlier) + (context.current is not None)
        return Finding(check="toy_before", verdict=Verdict.PASS, value=float(count))


def run(path: Path, *overrides: str):
    loop = load_loop(path, overrides)
    return run_loop(loop, Store(loop.path(loop.settings.store)))


def made(result) -> dict[str, object]:
    return json.loads(result.bundle.files["toy.json"].read_text())


NEAR = "passes=[{toy_round: {digits: 4}}, {toy_near: {toward: current}}]"


def test_a_pass_goes_toward_the_newest_release_and_the_first_toward_none(loop_path):
    first = run(loop_path, NEAR)
    second = run(loop_path, NEAR, "recipe.overflows=true")
    third = run(loop_path, NEAR, "seed=8")
    assert [made(one)["near"] for one in (first, second, third)] == [None, 20.0, 20.0]
    against = [
        BundleInfo.model_validate(r.bundle.meta).declared[0].against for r in (second, third)
    ]
    assert against == [first.bundle.digest, second.bundle.digest]
    assert [one.release.version for one in (first, second, third)] == [1, 2, 3]


def test_a_run_that_was_released_is_that_release_again_whatever_came_after_it(loop_path):
    first = run(loop_path, NEAR)
    second = run(loop_path, NEAR, "recipe.overflows=true")
    for result, overrides in ((second, ["recipe.overflows=true"]), (first, [])):
        again = run(loop_path, NEAR, *overrides)
        assert (again.executed, again.release) == (0, result.release)


def test_a_pass_that_goes_toward_nothing_is_the_same_step_behind_every_release(loop_path):
    plain = "passes=[{toy_round: {digits: 4}}, toy_near]"
    run(loop_path, plain)
    again = run(loop_path, plain, "release.tolerance=0.05")
    assert [s.name for s in again.steps if s.executed] == ["bundle"]


def test_a_recipe_goes_on_from_the_model_of_the_release(loop_path):
    tuned = "recipe={use: toy_tuned, toward: current}"
    sharp = [made(run(loop_path))["sharpness"]]
    for tries in (1, 2):
        result = run(loop_path, f"recipe={{use: toy_tuned, toward: current, tries: {tries}}}")
        sharp.append(made(result)["sharpness"])
    assert sharp == [20.0, 40.0, 80.0]
    assert run(loop_path, tuned[:-1] + ", tries: 2}").executed == 0


def test_rows_and_model_of_a_release_are_its_own_and_not_those_it_started_from(loop_path):
    run(loop_path)
    tuned = ["recipe={use: toy_tuned, toward: current}", "data.split.seed=9"]
    result = run(loop_path, *tuned)
    store = Store(loop_path.parent / ".edgeloop")
    steps = {step.name: step.artifact.digest for step in result.steps}
    assert built_model(store, result.bundle.digest).digest == steps["recipe"]
    assert learned_rows(store, result.bundle.digest).digest == steps["split"]


def test_a_check_is_shown_the_releases_before(loop_path):
    counted = "checks={toy_before: {}}"
    results = [run(loop_path, counted, f"passes.0.toy_round.digits={n}") for n in (1, 2, 3)]
    assert [one.findings[0].value for one in results] == [0.0, 1.0, 2.0]
    assert run(loop_path, counted, "passes.0.toy_round.digits=2").executed == 0
