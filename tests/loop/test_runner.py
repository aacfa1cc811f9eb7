"""The runner: only what changed runs, gates stop releases, and a kill costs one step."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from tests.toy import PLUGINS, write_toys

from edgeloop.data.snapshot import write
from edgeloop.errors import GateError
from edgeloop.loop.file import load_loop
from edgeloop.loop.origins import built_model, learned_rows
from edgeloop.loop.runner import Turn, open_model, run_loop
from edgeloop.release.bundle import BundleInfo
from edgeloop.release.repository import Repository, read_list
from edgeloop.store.artifacts import Store
from edgeloop.types import AnswerSpec, MadeBy

STEPS = ["data", "split", "recipe", "toy_round", "toy_right", "bundle"]


def run(path: Path, *overrides: str):
    loop = load_loop(path, overrides)
    return run_loop(loop, Store(loop.path(loop.settings.store)))


def test_the_first_run_takes_every_step_and_the_second_none(loop_path):
    first, second = run(loop_path), run(loop_path)
    assert [(s.name, s.executed) for s in first.steps] == [(name, True) for name in STEPS]
    assert [(s.name, s.executed) for s in second.steps] == [(name, False) for name in STEPS]
    assert [s.artifact for s in first.steps] == [s.artifact for s in second.steps]
    assert first.release == second.release
    assert first.release.version == 1


def test_another_parameter_runs_that_step_and_those_below_it_alone(loop_path):
    run(loop_path)
    again = run(loop_path, "passes.0.toy_round.digits=1")
    assert [s.name for s in again.steps if s.executed] == ["toy_round", "toy_right", "bundle"]


def test_a_second_release_declares_against_the_first_and_keeps_doing_so(loop_path):
    first = run(loop_path)
    second = run(loop_path, "recipe.sign=-1", "checks.toy_right.min=0")
    third = run(loop_path, "passes.0.toy_round.digits=4")
    (declared,) = BundleInfo.model_validate(second.bundle.meta).declared
    assert declared.against == first.bundle.digest
    assert declared.disagreement > 0.9
    again = run(loop_path, "recipe.sign=-1", "checks.toy_right.min=0")
    assert (again.executed, again.release) == (0, second.release)
    assert third.release.version == 3


def test_a_gate_that_does_not_pass_stops_the_release_and_keeps_the_finding(loop_path):
    with pytest.raises(GateError) as raised:
        run(loop_path, "recipe.sign=-1")
    assert str(raised.value).startswith(
        "[E300] release stopped by 1 of 1 checks:\n  toy_right: fail 0"
    )
    assert str(raised.value).endswith(", limit >= 0.9. Nothing was released")
    store = Store(loop_path.parent / ".edgeloop")
    (finding,) = store.artifacts("finding")
    assert finding.meta["verdict"] == "fail"
    assert not (loop_path.parent / "repository").exists()


def field_rows(store: Store, loop, seed: int) -> str:
    """Rows as devices would have sent them, kept as an artifact; gives its digest."""
    source = np.random.default_rng(seed).random((60, 1)).astype(np.float32)
    with TemporaryDirectory() as scratch:
        rows = write(
            name="toy",
            inputs={"x": source + 1.5},
            target=("label", (source[:, 0] > 0.5).astype(np.int64)),
            answer=AnswerSpec(kind="label", params={"classes": ["low", "high"]}),
            scratch=Path(scratch),
            provenance={"origin": "field"},
        )
        how = MadeBy(plugin="source/field.v1", key=f"field-{seed}", source="s")
        return store.keep(rows, how).digest


def test_a_second_turn_keeps_what_the_first_has_learned(loop_path):
    released = run(loop_path).bundle.digest
    loop = load_loop(loop_path, ["watch.on_drift.samples=60"])
    store = Store(loop.path(loop.settings.store))
    for seed, site in enumerate(("south", "north")):
        turn = Turn(
            samples=field_rows(store, loop, seed),
            start=built_model(store, released).digest,
            current=released,
            rows=learned_rows(store, released).digest,
            profile=f"field:{site}",
        )
        released = run_loop(loop, store, turn=turn).bundle.digest
    rows = learned_rows(store, released)
    assert rows.meta["profiles"] == ["clean", "field:south", "field:north"]
    assert rows.meta["rows"] == 600 + 60 + 60
    declared = BundleInfo.model_validate(store.open(released).meta).declared
    assert [line.profile for line in declared] == ["clean", "field:south", "field:north"]


def test_the_model_and_rows_of_a_release_are_its_own_and_not_those_it_was_compared_with(loop_path):
    run(loop_path)
    other = run(loop_path, "seed=8", "recipe.sign=2")
    store = Store(loop_path.parent / ".edgeloop")
    recipe = next(s.artifact for s in other.steps if s.name == "recipe")
    assert built_model(store, other.bundle.digest).digest == recipe.digest


def test_a_bundle_made_with_another_tolerance_is_compared_with_what_is_released_now(loop_path):
    run(loop_path)
    second = run(loop_path, "passes.0.toy_round.digits=4")
    again = run(loop_path, "release.tolerance=0.05")
    against = BundleInfo.model_validate(again.bundle.meta).declared[0].against
    assert against == second.bundle.digest


def test_a_delisted_release_is_not_what_the_next_one_is_compared_with(loop_path):
    first = run(loop_path)
    run(loop_path, "passes.0.toy_round.digits=5")
    Repository(loop_path.parent / "repository", loop_path.parent / "keys").delist(
        "toy", "stable", 2
    )
    third = run(loop_path, "passes.0.toy_round.digits=4")
    assert BundleInfo.model_validate(third.bundle.meta).declared[0].against == first.bundle.digest


def test_a_check_that_stands_twice_gives_two_findings_with_names_of_their_own(loop_path):
    first = run(loop_path, "checks.toy_right=[{min: 0.9}]")
    both = run(loop_path, "checks.toy_right=[{min: 0.9}, {min: 0.8}]")
    assert [one.check for one in first.findings] == ["toy_right"]
    assert [one.check for one in both.findings] == ["toy_right.0.9", "toy_right.0.8"]
    steps = [s for s in both.steps if s.artifact.kind == "finding"]
    assert [(s.name, s.executed) for s in steps] == [
        ("toy_right.0.9", True),  # its name is a part of what was found before
        ("toy_right.0.8", True),
    ]
    store = Store(loop_path.parent / ".edgeloop")
    record = store.open(store.layout.tags()["toy-run"])
    assert {s.artifact.digest for s in steps} <= set(record.meta["steps"].values())


def test_the_run_is_kept_with_its_steps_and_is_a_root(loop_path):
    result = run(loop_path)
    store = Store(loop_path.parent / ".edgeloop")
    record = store.open("toy-run")
    assert record.meta["steps"] == {s.name: s.artifact.digest for s in result.steps}
    store.collect()
    kept = {a.digest for a in store.artifacts()}
    assert {record.digest, *record.meta["steps"].values()} <= kept
    assert run(loop_path).executed == 0


def test_a_bundle_made_twice_in_different_folders_has_the_same_digest(loop_path, tmp_path):
    other = tmp_path / "elsewhere" / "loop.yaml"
    other.parent.mkdir()
    other.write_bytes(loop_path.read_bytes())
    assert run(loop_path).bundle.digest == run(other).bundle.digest


RUN = """
import sys, json, importlib
for name in {modules!r}:
    importlib.import_module(name)
from pathlib import Path
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import run_loop
from edgeloop.store.artifacts import Store
loop = load_loop(Path(sys.argv[1]))
store = Store(loop.path(loop.settings.store))
result = run_loop(loop, store, on_step=lambda s: print(s.name, s.executed, flush=True))
print(json.dumps([s.artifact.digest for s in result.steps]), flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    code = RUN.format(modules=list(PLUGINS))
    environment = {**os.environ, "PYTHONPATH": f"{path.parent}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )


def steps_run(path: Path) -> list[str]:
    output, _ = start(path).communicate(timeout=60)
    return [line.split()[0] for line in output.splitlines() if line.endswith(" True")]


def test_editing_one_line_of_a_recipe_runs_exactly_the_steps_below_it(tmp_path):
    path = write_toys(tmp_path)
    assert steps_run(path) == STEPS
    assert steps_run(path) == []
    recipe = tmp_path / "toy_recipe.py"
    recipe.write_text(recipe.read_text().replace("SHARPNESS = 20.0", "SHARPNESS = 30.0"))
    assert steps_run(path) == ["recipe", "toy_round", "toy_right", "bundle"]
    check = tmp_path / "toy_check.py"
    check.write_text(check.read_text() + "\n# another remark\n")
    assert steps_run(path) == ["toy_right", "bundle"]
    runtime = tmp_path / "toy_runtime.py"
    runtime.write_text(runtime.read_text() + "\n# another remark\n")
    assert steps_run(path) == ["toy_round", "toy_right", "bundle"]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_killed_run_carries_on_and_ends_with_the_same_digests(tmp_path, step):
    whole = write_toys(tmp_path / "whole")
    expected = json.loads(start(whole).communicate(timeout=60)[0].splitlines()[-1])
    path = write_toys(tmp_path / "killed")
    process = start(path)
    assert process.stdout is not None
    for _ in range(step + 1):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    output, _ = start(path).communicate(timeout=60)
    assert json.loads(output.splitlines()[-1]) == expected
    assert len(read_list(path.parent / "repository", "toy", "stable").releases) == 1
    assert Store(path.parent / ".edgeloop").verify() == []


def test_a_model_survives_the_store(loop_path):
    result = run(loop_path)
    built = next(s.artifact for s in result.steps if s.name == "recipe")
    assert open_model(built).notes["curves"] == {"train_loss": [1.0, 0.5]}
