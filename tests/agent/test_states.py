"""The table of states, and the record that survives a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop import durable
from edgeloop.agent.states import BUSY, MOVES, RESTING, Event, Ledger, move
from edgeloop.errors import AgentFolderError, DiskFullError, TransitionError
from edgeloop.protocol.messages import State


@pytest.mark.parametrize("state", list(State))
def test_the_table_says_what_a_power_cut_means_in_every_state(state: State) -> None:
    assert (state, Event.POWER_LOST) in MOVES


@pytest.mark.parametrize("state", list(State))
def test_a_power_cut_never_puts_a_slot_in_charge(state: State) -> None:
    if state is not State.COMMITTED:
        assert move(state, Event.POWER_LOST) is not State.COMMITTED


@pytest.mark.parametrize("state", sorted(RESTING))
def test_an_offer_is_taken_in_every_state_of_rest(state: State) -> None:
    assert move(state, Event.OFFERED) is State.SYNCING


@pytest.mark.parametrize("state", sorted(BUSY))
def test_an_offer_is_not_taken_while_another_is_under_way(state: State) -> None:
    with pytest.raises(TransitionError):
        move(state, Event.OFFERED)


@pytest.mark.parametrize("state", sorted(BUSY))
def test_every_update_can_be_withdrawn(state: State) -> None:
    assert move(state, Event.WITHDRAWN) is State.IDLE


def test_only_a_probation_that_is_done_commits() -> None:
    ways = {pair for pair, state in MOVES.items() if state is State.COMMITTED}
    assert ways == {(State.PROBATION, Event.DONE), (State.COMMITTED, Event.POWER_LOST)}


def test_a_move_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(TransitionError) as caught:
        move(State.DOWNLOADING, Event.WORSE)
    assert str(caught.value) == (
        "[E501] state downloading takes only: done, refused, power lost, withdrawn, got worse"
    )


def test_moves_are_counted_and_survive_the_end_of_the_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "progress.json")
    ledger.move(Event.OFFERED, attempts=0)
    ledger.move(Event.DONE)
    again = Ledger(tmp_path / "progress.json").now
    assert (again.state, again.moves) == (State.DOWNLOADING, 2)


def test_a_move_that_cannot_be_saved_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "progress.json")

    def full(path: Path, _: bytes) -> None:
        raise DiskFullError(f"disk of {path.parent}", "must have room")

    monkeypatch.setattr(durable, "write", full)
    with pytest.raises(DiskFullError):
        ledger.move(Event.OFFERED)
    assert ledger.now.state is State.IDLE


def test_a_record_of_a_newer_agent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    path.write_text('{"format": 2}')
    with pytest.raises(AgentFolderError) as caught:
        Ledger(path)
    assert str(caught.value) == (
        f"[E504] file {path} must have format 1 or older, got 2. "
        "A newer agent wrote it: install that agent again"
    )


def test_a_broken_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    path.write_text('{"state": "dreaming"}')
    with pytest.raises(AgentFolderError) as caught:
        Ledger(path)
    assert str(caught.value) == f"[E504] file {path} must hold the state of an update, got 1 faults"
