"""Several graphs in one loop file: built, gated, declared, released, and picked by devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_world import LOOP, World, open_world

from edgeloop.agent.readings import Readings
from edgeloop.agent.variants import HOLD
from edgeloop.errors import GateError, LoopFileError
from edgeloop.loop.file import load_loop
from edgeloop.loop.report import collect
from edgeloop.loop.report.sections import sections
from edgeloop.release.bundle import BundleInfo

LOW = Readings(battery_percent=20, charging=False)
HIGH = Readings(battery_percent=80, charging=False)
VARIANTS = """\
variants:
  - name: fine
    passes: [toy_round: {digits: 6}]
    checks: {toy_right: {min: 0.95}}
    when: {battery: 50}
    tolerance: 0.01
  - name: spare
    passes: [toy_round: {digits: 4}]
    when: {free_memory: 100 GB}
"""


@pytest.fixture
def world(toys: Path, tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path, {"north-1": "toy", "south-1": "toy"}) as made:
        (tmp_path / "loop.yaml").write_text(LOOP + VARIANTS)
        yield made


def test_a_whole_turn_with_variants_from_the_loop_file_to_the_device_and_back(
    world: World,
) -> None:
    world.fleet.readings = HIGH
    first = world.run()
    info = BundleInfo.model_validate(first.bundle.meta)
    assert [one.name for one in info.every] == ["fine", "spare", "main"]
    assert [(f.variant, f.check) for f in first.findings] == [
        ("", "toy_right"), ("fine", "toy_right"), ("spare", "toy_right"),
    ]  # fmt: skip
    assert [f.limit for f in first.findings] == [">= 0.9", ">= 0.95", ">= 0.9"]
    assert world.roll_out(1) == "finished"
    device = world.fleet.agents["north-1"]
    ask = {"x": [0.7]}
    assert device.answer(ask).variant == "fine"
    rollout = world.client.rollout(1)
    assert rollout.variants == {"fine": 2}
    assert {job.variant for job in rollout.jobs} == {"fine"}

    world.fleet.readings = LOW
    world.step(10)
    assert device.answer(ask).variant == "main"
    told = world.client.device("north-1").report
    assert told is not None
    assert (told.variant, told.passed_over["fine"]) == ("main", "battery 20 %, needs 50 %")
    assert told.passed_over["spare"] == "free memory is not known, needs 100000 MB"
    world.fleet.readings = HIGH
    world.step(int(HOLD) + 10)
    assert device.answer(ask).variant == "fine"
    assert world.run().executed == 0

    windows = {w.window.variant for w in world.client.windows(bundle=first.bundle.digest)}
    assert windows == {"fine", "main"}


def test_the_next_release_declares_what_each_graph_differs_from_each_before(world: World) -> None:
    first = world.run()
    second = world.run("variants.0.passes.0.toy_round.digits=5")
    info = BundleInfo.model_validate(second.bundle.meta)
    for one in info.every:
        declared = one.declared[0]
        assert declared.against == first.bundle.digest
        assert declared.beside == {"fine": 0.0, "spare": 0.0}
    assert second.release.version == 2


def test_a_variant_that_fails_a_gate_stops_the_release_by_name(world: World) -> None:
    with pytest.raises(GateError) as raised:
        world.run("variants.0.passes.0.toy_round.digits=-2")
    assert "\n  variant fine, toy_right: fail " in str(raised.value)
    assert str(raised.value).startswith("[E300] release stopped by 1 of 3 checks:")


def test_files_of_the_same_bytes_are_one_blob_and_plainly_named(world: World) -> None:
    bundle = world.run().bundle
    digests = {layer.name: layer.digest for layer in bundle.layers}
    assert digests["fine.toy.json"] == digests["spare.toy.json"] == digests["toy.json"]


def test_the_report_has_the_graphs_side_by_side(world: World) -> None:
    world.run()
    loop = load_loop(world.folder / "loop.yaml")
    facts = collect(loop, world.store)
    (section,) = [one for one in sections(facts, {}) if one.id == "variants"]
    assert section.lead == (
        "Release 1 has 3 graphs; a device uses the first whose conditions hold,"
        " and the last where none do."
    )
    assert section.table is not None
    assert section.table.columns == ("release", "variant", "used when", "bytes", "toy_right")
    assert [tuple(row[1:3]) for row in section.table.rows] == [
        ("fine", "battery 50 % or more"),
        ("spare", "free memory 100000 MB or more"),
        ("main", "always"),
    ]
    assert all(row[-1] for row in section.table.rows)
    assert [line.check for line in facts.releases[0].checks] == ["toy_right"]


def test_faults_of_variants_are_told_with_their_lines(world: World) -> None:
    path = world.folder / "loop.yaml"
    path.write_text(
        LOOP + "variants:\n"
        "  - name: main\n"
        "  - name: fine\n"
        "    passes: [toy_round: {digit: 6}]\n"
        "    checks: {toy_wrong: {}}\n"
        "    when: {batery: 50}\n"
    )
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    lines = str(raised.value).splitlines()[1:]
    assert [line.strip().partition(", got")[0].partition(": one of")[0] for line in lines] == [
        "line 18: variants.0.name must not be 'main', which is what `passes` make",
        "line 20: variants.1.passes.0.toy_round.digit must be a known field",
        "line 21: variants.1.checks.toy_wrong must name a check",
        "line 22: variants.1.when.batery must be a known field",
    ]
    path.write_text(LOOP + "variants: [{name: fine}, {name: fine}]\n")
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert "must have names of their own, got 'fine' twice" in str(raised.value)
