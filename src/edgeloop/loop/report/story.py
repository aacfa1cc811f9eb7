"""The report's headline: what happened, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from edgeloop.loop.report.facts import Facts, ReleaseFacts, RolloutFacts, Turn
from edgeloop.loop.report.words import counted, lasted, listed, percent, size, without_value


def sentences(facts: Facts) -> list[str]:
    """From the fleet's size to the field's quality; each a sentence that needs no other."""
    told = [_scale(facts), *_answers(facts)]
    told += [_release(facts, one) for one in facts.releases]
    told += _taken_back(facts)
    told += _triggers(facts)
    told += [turn(one, facts.measure) for one in facts.turns]
    return told


def _scale(facts: Facts) -> str:
    releases = counted(len(facts.releases), "release")
    if not facts.lanes:
        return f"{releases}; no fleet was asked."
    groups = listed([group or "no group" for group in facts.groups])
    devices = counted(len(facts.lanes), "device")
    time = lasted(facts.ended - facts.began)
    return f"{releases} and {devices} ({groups}), over {time}."


def _answers(facts: Facts) -> Iterator[str]:
    told = facts.answers
    if not told.given and not told.failed:
        return
    failed = f"{told.failed} failed" if told.failed else "none failed"
    lost = f"{counted(told.unlogged, 'answer')} could not be written to the device's log"
    log = lost if told.unlogged else "each is in its device's log"
    yield f"Devices gave {counted(told.given, 'answer')}; {failed}; {log}."


def _release(facts: Facts, one: ReleaseFacts) -> str:
    passed = sum(line.verdict == "pass" for line in one.checks)
    checks = f"passed {passed} of {counted(len(one.checks), 'check')}{without_value(one.checks)}"
    rollouts = [_rollout(r) for r in facts.rollouts if r.version == one.version]
    went = listed(rollouts) if rollouts else "was not rolled out"
    return f"Release {one.version} ({size(one.size)}) {checks}; {went}."


def _rollout(one: RolloutFacts) -> str:
    never = one.devices - one.offered
    rest = f", {never} were never offered it" if never else ""
    reason = f" ({one.reason})" if one.reason else ""
    return f"rollout {one.id} {one.state}{reason}: {one.succeeded} of {one.devices} took it{rest}"


def _taken_back(facts: Facts) -> Iterator[str]:
    for lane in facts.lanes:
        for mark in lane.marks:
            place = f"{lane.name} ({lane.group})" if lane.group else lane.name
            by = " by the device itself" if mark.kind == "taken back" else ""
            yield f"On {place}, release {mark.version} was {_past(mark.kind)}{by}: {mark.reason}."


def _past(kind: str) -> str:
    return {"failed": "refused", "timed out": "not reported in time"}.get(kind, kind)


def _triggers(facts: Facts) -> Iterator[str]:
    for one in facts.triggers:
        if one.action == "fired":
            ran = f"which ran release {one.version}"
            yield f"The trigger fired for {one.group}, {ran}: {one.reason}."
        if one.action == "gave_up":
            yield f"The turn for {one.group} came to nothing: {one.reason}."


def turn(one: Turn, measure: str) -> str:
    """Quality before and after, by the answer kind's word, with what it was measured on."""
    before, after = one.quality
    many, more = (counted(count, "confirmed answer") for count in one.confirmed)
    which = " on inputs of which none was sent home" if one.fresh else ""
    return (
        f"Field {measure} of {one.group} went from {percent(before)} (release {one.before}, {many}"
        f" from those that the trigger judged on) to {percent(after)} (release {one.after},"
        f" {more}{which})."
    )
