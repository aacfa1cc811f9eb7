"""Which variant a device should use: pure rules, so that many situations can be tried."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.agent.readings import Readings
from edgeloop.agent.variants import (
    HOLD,
    LONGEST_REST,
    REST,
    Abilities,
    Fault,
    Ranked,
    Seen,
    impossible,
    rank,
    seen,
    too_slow,
    unmet,
)
from edgeloop.release.bundle import DeviceLimits, Golden, UsedWhen, Variant

HERE = Abilities(runtimes=frozenset({"onnx"}), accelerators=frozenset({"cpu"}))


def variant(name: str, runtime: str = "onnx", **when: object) -> Variant:
    return Variant(
        name=name,
        runtime=runtime,
        golden=Golden(rows=1, tolerance={"any": 0.01}),
        limits=DeviceLimits(latency_ms=10),
        model={},
        when=UsedWhen.model_validate(when),
    )


THREE = (
    variant("float", battery_percent=50),
    variant("int8", battery_percent=20),
    variant("main"),
)


def looked(
    every: tuple[Variant, ...],
    readings: Readings,
    now: float = 0,
    before: Seen | None = None,
    faults: dict[str, Fault] | None = None,
) -> Seen:
    return seen(every, readings, now=now, before=before, faults=faults or {}, own_mb={})


def test_the_first_whose_conditions_hold_is_used_and_the_main_one_where_none_do() -> None:
    firsts = {
        percent: rank(THREE, HERE, looked(THREE, Readings(battery_percent=percent))).names[0]
        for percent in (80, 50, 49, 20, 19)
    }
    assert firsts == {80: "float", 50: "float", 49: "int8", 20: "int8", 19: "main"}


def test_what_does_not_hold_is_said_with_what_was_read() -> None:
    every = variant("v", free_memory_mb=300, battery_percent=30, temperature_c=60)
    assert unmet(every, Readings(free_memory_mb=120.4)) == "free memory 120 MB, needs 300 MB"
    assert unmet(every, Readings()) == "free memory is not known, needs 300 MB"
    low = Readings(free_memory_mb=400, battery_percent=18.2)
    assert unmet(every, low) == "battery 18 %, needs 30 %"
    hot = Readings(free_memory_mb=400, battery_percent=90, temperature_c=71)
    assert unmet(every, hot) == "temperature 71 C, at most 60 C"


def test_a_charging_device_and_one_that_knows_of_no_battery_or_heat_may_use_all() -> None:
    asks = variant("v", battery_percent=30, temperature_c=60)
    assert unmet(asks, Readings(battery_percent=5, charging=True)) == ""
    assert unmet(asks, Readings()) == ""


def test_the_memory_that_a_variant_takes_itself_does_not_speak_against_it() -> None:
    asks = variant("v", free_memory_mb=300)
    assert unmet(asks, Readings(free_memory_mb=200), own_mb=150) == ""


def test_what_this_device_can_never_load_is_not_among_the_names() -> None:
    every = (variant("gpu", accelerator="cuda"), variant("lite", runtime="litert"), *THREE)
    ranked = rank(every, HERE, looked(every, Readings()))
    assert ranked.names == ("float", "int8", "main")
    assert ranked.reasons == {
        "gpu": "needs accelerator cuda, this device has cpu",
        "lite": "needs litert, this device has onnx",
    }


def test_one_that_failed_comes_last_and_rests_twice_as_long_each_time() -> None:
    fault = Fault.after(None, "does not load", now=100)
    assert (fault.until, Fault.after(fault, "again", now=100).until) == (100 + REST, 100 + 2 * REST)
    assert Fault.after(Fault(reason="", times=40), "", now=0).until == LONGEST_REST
    at = looked(THREE, Readings(), now=100, faults={"float": fault})
    assert rank(THREE, HERE, at).names == ("int8", "main", "float")
    rested = looked(THREE, Readings(), now=100 + REST, before=at, faults={"float": fault})
    assert rank(THREE, HERE, rested, "int8").names[0] == "float"


def test_half_of_the_newest_answers_twice_beyond_the_limit_is_too_slow() -> None:
    assert too_slow(10, [21.0] * 40) == "half of 40 answers took 21.0 ms or more, limit 10 ms"
    assert too_slow(10, [19.0] * 40 + [500.0] * 10) == ""
    assert too_slow(10, [500.0] * 39) == ""
    assert too_slow(None, [500.0] * 60) == ""


READINGS = st.builds(
    Readings,
    battery_percent=st.none() | st.floats(0, 100),
    charging=st.none() | st.booleans(),
    temperature_c=st.none() | st.floats(-20, 100),
    free_memory_mb=st.none() | st.floats(0, 4000),
)
VARIANTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "battery_percent": st.sampled_from((20.0, 50.0)),
            "temperature_c": st.sampled_from((40.0, 60.0)),
            "free_memory_mb": st.sampled_from((100.0, 1000.0)),
        },
    ),
    min_size=1,
    max_size=4,
).map(lambda whens: tuple(variant(f"v{n}", **when) for n, when in enumerate(whens)))


@given(VARIANTS, st.lists(st.tuples(READINGS, st.floats(0, 300)), min_size=1, max_size=40))
@settings(deadline=None)
def test_there_is_always_one_and_none_is_gone_back_to_before_its_time(
    every: tuple[Variant, ...], story: list[tuple[Readings, float]]
) -> None:
    now, at, current = 0.0, None, ""
    left: dict[str, float] = {}  # when each was last left because its conditions did not hold
    for readings, passed in story:
        now += passed
        at = looked(every, readings, now, at)
        ranked: Ranked = rank(every, HERE, at, current)
        assert sorted(ranked.names) == sorted(one.name for one in every)
        chosen = ranked.names[0]
        if chosen != current:
            wanted = [name for name in ranked.names if name not in ranked.reasons]
            if chosen in wanted:
                assert now - left.get(chosen, float("-inf")) >= HOLD
            if current in at.unmet:
                left[current] = now
            current = chosen


def test_what_a_variant_needs_is_its_runtime_and_steps() -> None:
    assert impossible(variant("v"), HERE) == ""
