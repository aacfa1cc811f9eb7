"""One device as its application and its owner see it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.agent.test_update import good, installed
from tests.agent.world import World, pictures

from edgeloop.agent import settings
from edgeloop.agent.agent import Agent
from edgeloop.agent.database import Database
from edgeloop.agent.settings import read
from edgeloop.agent.update import Update
from edgeloop.errors import AgentFolderError, InputMismatchError, NoSlotError
from edgeloop.protocol.messages import SampleRequest

D = "sha256:" + "d" * 64
HEAVY = (
    "torch numpy onnx onnxruntime datasketches pandas fastapi sqlalchemy typer rich httpx mlflow"
)


def test_an_answer_names_its_bundle_and_is_in_the_log(world: World) -> None:
    bundle, _ = installed(world)
    answer = world.agent.answer({"image": pictures(5, 2)[1]})
    assert answer.bundle == bundle.digest
    assert answer.result["label"] == "right"
    entry = world.agent._books.journal.find(answer.id)
    assert entry is not None
    assert (entry.bundle, entry.version, entry.result) == (bundle.digest, 1, answer.result)


def test_without_a_slot_the_application_is_told_so(world: World) -> None:
    with pytest.raises(NoSlotError) as caught:
        world.agent.answer({"image": pictures(5, 1)[0]})
    assert str(caught.value) == (
        "[E503] device must have an installed bundle. Wait for its first release"
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "[E121] inputs must be image, got none"),
        ({"picture": 1}, "[E121] inputs must be image, got picture"),
        (
            {"image": np.zeros((5, 5), dtype=np.uint8)},
            (
                "[E121] input 'image' must be uint8[4, 4], got uint8[5, 5]. "
                "One row at a time; values must fit the dtype"
            ),
        ),
        (
            {"image": np.full((4, 4), 300)},
            (
                "[E121] input 'image' must be uint8[4, 4], got int64[4, 4]. "
                "One row at a time; values must fit the dtype"
            ),
        ),
        (
            {"image": np.full((4, 4), 0.5)},
            (
                "[E121] input 'image' must be uint8[4, 4], got float64[4, 4]. "
                "One row at a time; values must fit the dtype"
            ),
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    world: World, inputs: dict[str, object], message: str
) -> None:
    installed(world)
    with pytest.raises(InputMismatchError) as caught:
        world.agent.answer(inputs)
    assert str(caught.value) == message


def test_plain_lists_are_inputs_too(world: World) -> None:
    installed(world)
    assert world.agent.answer({"image": pictures(5, 1)[0].tolist()}).result["label"] == "left"


def test_feedback_is_counted_once(world: World) -> None:
    installed(world)
    answer = world.agent.answer({"image": pictures(5, 1)[0]})
    world.agent.feedback(answer.id, "right")
    world.agent.feedback(answer.id, "left")
    world.fleet.step(100)
    world.fleet.step(100)
    windows = world.plane.windows.values()
    assert sum(window["confirmed"] for window in windows) == 1
    assert sum(window["quality"] for window in windows) == 0


def test_feedback_on_an_unknown_answer_is_refused(world: World) -> None:
    installed(world)
    with pytest.raises(InputMismatchError) as caught:
        world.agent.feedback("nobody", "left")
    assert str(caught.value) == "[E121] answer 'nobody' must be in this device's log"


def test_feedback_must_be_a_possible_answer(world: World) -> None:
    bundle, _ = installed(world)
    answer = world.agent.answer({"image": pictures(5, 1)[0]})
    with pytest.raises(InputMismatchError) as caught:
        world.agent.feedback(answer.id, "up")
    assert str(caught.value) == (
        f"[E121] truth must be one that answers of bundle {bundle.digest} can have, got 'up'"
    )


def test_every_answer_is_counted_exactly_once_even_when_the_network_comes_and_goes(
    world: World,
) -> None:
    bundle, _ = installed(world)
    for step in range(30):
        world.plane.down = step % 3 == 1
        world.fleet.step(10)
    world.plane.down = False
    asked = world.asked
    world.per_step = 0
    world.fleet.step(400)
    world.fleet.step(400)
    assert sum(w["answers"] for w in world.plane.windows.values()) == asked
    assert {w["bundle"] for w in world.plane.windows.values()} == {bundle.digest}


def test_samples_go_home_when_asked_for(world: World) -> None:
    _, ref = installed(world)
    world.plane.wish(ref, samples=SampleRequest(id=1, count=3))
    world.fleet.step(2)
    for image in pictures(9, 6):
        world.agent.feedback(world.agent.answer({"image": image}).id, "left")
    world.fleet.step(2)
    assert len(world.plane.samples) == 3


def test_a_report_names_the_model_that_the_device_follows(world: World) -> None:
    told = world.agent.report()
    assert (told.model, told.channel) == ("sorter", "stable")


def test_samples_for_another_model_are_not_given(world: World) -> None:
    _, ref = installed(world)
    world.plane.wish(ref, samples=SampleRequest(id=1, count=3, model="forecaster"))
    world.fleet.step(2)
    world.agent.feedback(world.agent.answer({"image": pictures(9, 1)[0]}).id, "left")
    world.fleet.step(2)
    assert world.plane.samples == {}


def test_a_folder_that_was_not_enrolled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentFolderError) as caught:
        Agent.open(tmp_path)
    assert str(caught.value) == (
        f"[E504] agent folder {tmp_path} must be enrolled, got no agent.json. "
        "Run `python -m edgeloop.agent enrol`"
    )


def test_broken_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text('{"server": "http://x"}')
    with pytest.raises(AgentFolderError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"[E504] file {tmp_path / 'agent.json'} must hold settings, got device: Field required"
    )


def test_an_agent_says_the_version_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.agent_version.cache_clear()
    try:
        said = []
        for installed_now in ("1", "2"):  # a package manager replaces it meanwhile
            monkeypatch.setattr(settings, "version", lambda _, now=installed_now: now)
            said.append(settings.agent_version())
        assert said == ["1", "1"]
    finally:
        settings.agent_version.cache_clear()


def test_a_running_agent_ends_when_it_is_told_to(world: World) -> None:
    installed(world)
    stop = threading.Event()
    thread = threading.Thread(target=world.agent.run, args=(stop,))
    thread.start()
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_clean_end_hands_over_what_was_counted(world: World) -> None:
    installed(world)
    stop = threading.Event()
    stop.set()
    world.agent.run(stop)
    assert sum(window["answers"] for window in world.plane.windows.values()) == world.asked


def test_a_clean_end_without_a_network_keeps_what_was_counted(world: World) -> None:
    installed(world)
    world.plane.down = True
    stop = threading.Event()
    stop.set()
    world.agent.run(stop)
    batch = world.agent._books.signals.batch()
    assert batch is not None
    assert sum(window.answers for window in batch.windows) == world.asked


def test_an_agent_without_a_slot_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, edgeloop.agent.__main__\n"
        f"print(sorted(set({HEAVY.split()!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert done.stdout == "[]\n"


def test_a_log_without_room_does_not_keep_an_answer_from_its_application(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    installed(world)
    connection = world.agent._books.journal._database._connection
    connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
    pages = [pictures(5, 1)[0]] * 400
    versions = {world.agent.answer({"image": image}).version for image in pages}
    unlogged = world.agent._answering.unlogged
    assert versions == {1}
    assert 0 < unlogged < 400
    world.per_step = 0
    world.fleet.step()
    assert [m for m in caplog.messages if m.startswith("journal")] == [
        f"journal.failed unlogged={unlogged}"
    ]
    world.agent._books.signals.close_all()
    world.rest()
    assert sum(window["unlogged"] for window in world.plane.windows.values()) == unlogged


def test_a_journal_that_lost_its_rows_counts_anew(world: World, tmp_path: Path) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    world.fleet.cut_power("d1")
    for path in (tmp_path / "fleet" / "d1").glob("journal.sqlite*"):
        path.unlink()
    agent = world.fleet.start("d1")
    assert agent.report().answers_since_switch == 0
    agent.answer({"image": pictures(5, 1)[0]})
    assert agent.report().answers_since_switch == 1


def test_a_journal_that_loses_rows_while_it_runs_never_counts_below_none(world: World) -> None:
    installed(world)
    world.agent._books.journal._last = 0
    world.agent._slots.switch(world.agent._slots.current().model_copy(update={"digest": D}), 9)
    assert world.agent.report().answers_since_switch == 0


def test_the_loop_outlives_a_way_back_that_is_closed_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(Update, "step", broken)
        patch.setattr(Update, "fail", broken)
        assert world.agent.tick() > 0
    world.rest()
    assert world.plane.reports[-1]["state"] == "committed"


def test_a_database_that_breaks_is_named(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", "CREATE TABLE IF NOT EXISTS t (a);")
    message = (
        f"[E504] file {tmp_path / 'x.sqlite'} must be readable and writable, "
        "got no such table: lost"
    )
    with pytest.raises(AgentFolderError) as caught:
        database.rows("SELECT * FROM lost")
    assert str(caught.value) == message
    with pytest.raises(AgentFolderError) as caught, database.writing() as to:
        to.execute("DELETE FROM lost")
    assert str(caught.value) == message
