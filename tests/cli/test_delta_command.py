"""``delta create``, ``apply`` and ``info``: a file there and back, and what a delta is made of."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.errors import DeltaError, OverrideError


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = np.random.default_rng(0)
    levels = chance.normal(0, 20, (40, 60))
    moved = levels + chance.normal(0, 1, levels.shape)
    for name, one in (("old", levels), ("new", moved)):
        (tmp_path / name).write_bytes(save({"w": np.clip(one, -127, 127).astype(np.int8)}))
    return tmp_path


def call(line):
    done = CliRunner().invoke(app, ["delta", *line.split()], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(kind, line):
    with pytest.raises(kind) as caught:
        call(line)
    return str(caught.value)


def test_a_delta_is_made_looked_at_and_applied(models):
    size = len((models / "new").read_bytes())
    told = json.loads(call("create old new -o it.delta --format json"))
    assert told == json.loads(call("info it.delta --format json"))
    assert call("apply old it.delta -o made") == f"made: {size:,} bytes, as it was made from\n"
    assert (models / "made").read_bytes() == (models / "new").read_bytes()
    delta = (models / "it.delta").read_bytes()
    assert told["bytes"] == sum(told["sections"].values()) == len(delta)
    assert told["share"] == len(delta) / size
    assert told["tensors"] == {"int8": 1}
    new = hashlib.sha256((models / "new").read_bytes()).hexdigest()
    old = hashlib.sha256((models / "old").read_bytes()).hexdigest()
    assert told["new"] == [{"bytes": size, "sha256": new}]
    assert told["old"] == [{"bytes": size, "sha256_begins": old[:16]}]


def test_info_is_a_table_for_people(models):
    line = call("create old new -o it.delta")
    told = json.loads(call("info it.delta --format json"))
    share = f"{told['bytes']:,} bytes, {100 * told['share']:.3g} % of the new"
    assert line == f"it.delta: {share} model\n"
    lines = call("info it.delta").splitlines()
    assert lines[:4] == [
        f"{share} files",
        "files",
        f"  old  {told['old'][0]['bytes']:,} bytes  {told['old'][0]['sha256_begins']}",
        f"  new  {told['new'][0]['bytes']:,} bytes  {told['new'][0]['sha256'][:16]}",
    ]
    assert lines[4:7] == ["tensors", "  int8  1", "parts"]
    parts = {line.split()[0] for line in lines[7:]}
    assert parts == {name for name, size in told["sections"].items() if size}


def test_a_delta_to_an_empty_file_has_no_share(models):
    (models / "none").write_bytes(b"")
    assert call("create old none -o it.delta") == "it.delta: 54 bytes, no share of the new model\n"


def test_another_old_model_is_refused(models):
    call("create old new -o it.delta")
    (models / "other").write_bytes((models / "new").read_bytes())
    told = json.loads(call("info it.delta --format json"))["old"][0]
    got = hashlib.sha256((models / "new").read_bytes()).hexdigest()[:16]
    assert refused(DeltaError, "apply other it.delta -o made") == (
        f"[E408] old file must have {told['bytes']} bytes, SHA-256 {told['sha256_begins']}..., "
        f"got {told['bytes']} bytes, {got}. Take the whole files instead"
    )
    assert not (models / "made").exists()


def test_a_file_that_is_not_there_is_wrong_input(models):
    message = "must be a file that can be read or written, got No such file or directory"
    for line in ("create none new -o d", "apply old none -o made", "info none"):
        assert refused(OverrideError, line) == f"[E103] file none {message}"


def test_a_model_is_no_delta(models):
    assert refused(DeltaError, "info old") == '[E408] delta must begin with "ELD", got 400000'
