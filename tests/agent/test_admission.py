"""What a new slot must prove before it is tried."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from tests.agent.test_update import installed
from tests.agent.world import World

from edgeloop.agent.admission import (
    FEWEST_RUNS,
    RUNS,
    fits,
    latency,
    load_measured,
    memory,
    percentile,
    time_beside,
)
from edgeloop.agent.device import Device, execution_class
from edgeloop.types import Verdict

HERE = Device(target="linux-x86", execution="x86-avx2", runtimes=("onnx",))
STEADY = [1.0] * 50
SPREAD = [1.0] * 40 + [9.0] * 10


@pytest.mark.parametrize(
    ("targets", "verdict", "reason"),
    [
        ((), "pass", ""),
        (("linux-arm64", "linux-x86"), "pass", ""),
        (
            ("linux-arm64",),
            "fail",
            "this device is linux-x86, the release is for linux-arm64",
        ),
    ],
)
def test_a_release_is_for_its_targets(targets: tuple[str, ...], verdict: str, reason: str) -> None:
    found, _ = fits(targets, ("onnx",), HERE)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_device_must_have_the_runtime_and_every_step_that_a_release_needs() -> None:
    _, found = fits((), ("onnx", "tokenize", "window"), replace(HERE, runtimes=("onnx", "window")))
    assert found.verdict == "fail"
    assert found.reason == "needs tokenize, this device has onnx, window"


def test_of_variants_that_need_different_things_one_is_enough() -> None:
    either = (("litert",), ("onnx", "tokenize"))
    here = replace(HERE, runtimes=("litert",))
    assert fits((), ("onnx", "tokenize"), here, either)[1].verdict == "pass"
    _, found = fits((), ("onnx", "tokenize"), HERE, either)
    assert found.reason == "needs litert or tokenize, this device has onnx"
    assert found.limit == "litert or onnx, tokenize"


@pytest.mark.parametrize(
    ("limit", "candidate", "current", "verdict", "reason"),
    [
        (None, SPREAD, [], "pass", ""),
        (1.5, STEADY, [], "pass", ""),
        (0.5, STEADY, [], "fail", "p95 1.00 ms is above the limit 0.5 ms"),
        (0.5, STEADY, [0.2] * 50, "fail", "p95 1.00 ms is above the limit 0.5 ms"),
        (
            5,
            SPREAD,
            [],
            "not measured",
            "the device is busy: p95 9.00 ms, median 1.00 ms",
        ),
        (
            0.5,
            STEADY,
            [0.8] * 50,
            "not measured",
            "the device is busy: the current slot has p95 0.80 ms",
        ),
    ],
)
def test_a_slot_is_blamed_for_its_latency_only_where_the_device_is_not(
    limit: float | None, candidate: list[float], current: list[float], verdict: str, reason: str
) -> None:
    found = latency(limit, candidate, current)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_latency_that_was_not_measured_shows_no_number() -> None:
    assert latency(5, SPREAD, []).value is None


@pytest.mark.parametrize(
    ("limit", "grown", "verdict", "value"),
    [
        (None, [40.0], Verdict.PASS, 40.0),
        (20, [40.0, 12.0], Verdict.PASS, 12.0),
        (20, [40.0, 30.0], Verdict.FAIL, 30.0),
        (20, [-3.0], Verdict.PASS, 0.0),
        (20, [], Verdict.NOT_MEASURED, None),
    ],
)
def test_the_least_growth_counts_as_the_memory_of_a_slot(
    limit: float | None, grown: list[float], verdict: Verdict, value: float | None
) -> None:
    found = memory(limit, grown)
    assert (found.verdict, found.value) == (verdict, value)


def test_a_slot_beyond_its_memory_is_loaded_a_second_time() -> None:
    class Slot:
        bundle = property(lambda self: self)

        def golden_samples(self) -> tuple[dict[str, int], dict[str, int]]:
            return {}, {}

        def fresh(self) -> Slot:
            return self

        def run(self, _: object) -> None:
            """Answer nothing."""

    loads = []

    def load() -> Slot:
        loads.append(bytearray(30_000_000))
        return Slot()

    _, grown = load_measured(load, 1.0)  # type: ignore[arg-type]
    assert (len(loads), len(grown)) == (2, 2)
    assert min(grown) > 20
    _, grown = load_measured(load, 1000.0)  # type: ignore[arg-type]
    assert (len(loads), len(grown)) == (3, 1)


def test_the_percentile_is_the_nearest_rank() -> None:
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([3.0], 0.95) == 3.0


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "name"),
    [
        ("x86", "flags\t\t: fpu avx2 avx512f avx512bw avx512_vnni", "x86-avx512-vnni"),
        ("x86", "flags\t\t: fpu avx2 avx512f avx512bw", "x86-avx512"),
        ("x86", "flags\t\t: fpu avx2 avx_vnni", "x86-avx-vnni"),
        ("x86", "flags\t\t: fpu avx2", "x86-avx2"),
        ("x86", "", "x86"),
        ("arm64", "Features\t: fp asimd asimddp", "arm64-dotprod"),
        ("arm64", "Features\t: fp asimd asimddp i8mm", "arm64-i8mm"),
        ("riscv64", "isa\t: rv64", "riscv64"),
    ],
)
def test_an_execution_class_is_read_from_the_processors_flags(
    machine: str, cpuinfo: str, name: str
) -> None:
    assert execution_class(machine, cpuinfo) == name


@pytest.mark.parametrize(("seconds", "timed"), [(0.001, RUNS), (1.0, FEWEST_RUNS)])
def test_a_slow_model_is_timed_fewer_times(world: World, seconds: float, timed: int) -> None:
    installed(world)
    clock = itertools.count(step=seconds)
    candidate = world.agent.slot()
    times, beside = time_beside(candidate, candidate, lambda: next(clock))
    assert (len(times), len(beside)) == (timed, timed)
