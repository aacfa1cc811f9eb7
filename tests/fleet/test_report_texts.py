"""What a device says in words is kept without what a database cannot keep."""

from __future__ import annotations

from fleet_bench import Bench, digest


def test_a_nul_in_what_a_device_says_keeps_no_report_out(bench: Bench) -> None:
    for version in (1, 2):
        bench.list_release(version)
    device = bench.device("cam-1")
    device.runs(1)
    rollout = bench.go(2)
    outcome = {
        "digest": digest(2),
        "rollout": rollout,
        "result": "FAILED_NO_STATE_CHANGE",
        "reason": "it said: bad\0 image\x1b[2J",
        "evidence": {"sa\0id": ["a\0b"]},
    }
    told = {"outcome": outcome, "waiting": "for a\0 person", "agent_version": "1\0"}
    told["passed_over"] = {"int8": "no\0 room"}
    reply = device.report(running=1, **told)
    assert reply.status_code == 200, reply.text
    (job,) = bench.operator.rollout(rollout).jobs
    assert job.reason == "FAILED_NO_STATE_CHANGE: it said: bad image[2J"
    assert job.evidence == {"said": ["ab"]}
    view = bench.operator.device("cam-1")
    assert view.agent_version == "1"
    assert view.report is not None
    assert view.report.waiting == "for a person"
    assert view.report.passed_over == {"int8": "no room"}
    device.runs(1)  # and whatever it says next
