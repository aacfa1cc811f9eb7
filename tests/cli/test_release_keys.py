"""``release keys``: three people, three keys and a file that goes from hand to hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgeloop.cli.main import app
from edgeloop.errors import DraftError, KeyFileError
from edgeloop.release import model_key

PASSPHRASE = "correct horse battery"


@pytest.fixture
def here(loop_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(loop_path.parent)
    call("")
    (loop_path.parent / "words").write_text(f"{PASSPHRASE}\nnot this\n")
    return loop_path.parent


def invoke(line: str, typed: str = "") -> Result:
    words = [word.replace("_", " ") for word in line.split()]
    return CliRunner().invoke(app, ["release", "keys", *words], input=typed, catch_exceptions=False)


def call(line: str, typed: str = "") -> str:
    done = invoke(line, typed)
    assert done.exit_code == 0, done.output
    return done.stdout


def roles() -> dict[str, list[tuple[str, str]]]:
    told: dict[str, list[tuple[str, str]]] = {}
    for row in json.loads(call("--format json"))["roles"]:
        told.setdefault(row["role"], []).append((row["holder"], row["file"]))
    return told


def test_three_people_take_over_root_and_two_of_them_change_it_again(here):
    for name in ("anna", "ben", "cleo"):
        call(f"new {name}.pem --passphrase-file words")
    call("draft --root 2_of_anna.pub_ben.pub_cleo.pub --out one")
    call("sign one --key keys/root.pem --yes")
    call("sign one --key ben.pem --passphrase-file words --yes")
    call("sign one --key cleo.pem --passphrase-file words --yes")
    assert call("publish one").endswith("published\n")
    assert roles()["root"] == [("anna", "not here"), ("ben", "not here"), ("cleo", "not here")]
    assert roles()["targets"] == [("", "here")]
    call("draft --root 1_of_anna --new-key timestamp --out two")
    call("sign two --key anna.pem --passphrase-file words --yes")
    call("sign two --key ben.pem --passphrase-file words --yes")
    call("publish two")
    assert roles()["root"] == [("anna", "not here")]


def test_who_signs_is_told_what_changes_is_asked_and_types_a_passphrase_that_is_not_shown(here):
    call("new anna.pem", f"{PASSPHRASE}\n{PASSPHRASE}\n")
    call("draft --root 1_of_anna.pub")
    no = invoke("sign --key anna.pem", "n\n")
    assert no.exit_code == 1
    assert "  root: 1 of 1 must sign, before: 1 of 1\n" in no.stderr
    assert "not by anna" in call("show")
    yes = invoke("sign --key anna.pem", f"y\n{PASSPHRASE}\n")
    assert yes.exit_code == 0
    assert yes.stdout.endswith("signed: root\n")
    assert PASSPHRASE not in yes.output
    assert "signed by anna" in call("show")


def test_who_signed_keeps_the_root_and_follows_only_from_there(here):
    call("new anna.pem --passphrase-file words")
    call("draft --root 1_of_anna.pub --out one")
    first = invoke("sign one --key anna.pem", f"y\n{PASSPHRASE}\n")
    assert "nothing here tells whether that root is the real one" in first.stderr
    number = call("").partition("root version 1, number ")[2].splitlines()[0]
    assert f"it begins at root version 1, number {number}\n" in first.stderr
    call("sign one --key keys/root.pem --yes")
    call("publish one")
    call("draft --out two")
    second = invoke("sign two --key anna.pem", f"y\n{PASSPHRASE}\n")
    assert "that root is, or follows from, version 1 in anna.root.json" in second.stderr
    newest = (here / "repository/metadata/2.root.json").read_bytes()
    assert (here / "anna.root.json").read_bytes() == newest
    with pytest.raises(DraftError, match="version 1, which does not follow from version 2 in"):
        call("sign one --key anna.pem --passphrase-file words --yes")
    with pytest.raises(DraftError, match="version 2 in repository"):
        call("show one --root repository/metadata/2.root.json")
    call(
        "sign one --key anna.pem --root repository/metadata/1.root.json"
        " --passphrase-file words --yes"
    )


def test_a_passphrase_file_that_is_not_there_is_named(here):
    with pytest.raises(KeyFileError) as raised:
        call("new anna.pem --passphrase-file none")
    assert str(raised.value) == (
        "[E405] passphrase file none must be readable, got No such file or directory"
    )


def test_the_model_signing_key_is_listed_and_replaced_and_what_the_old_one_signed_still_holds(here):
    assert "model-signing" not in roles()
    folder = here / "keys"
    old = model_key.open_key(folder)
    signature = old.sign(b"papers")
    assert roles()["model-signing"] == [("", "here")]
    assert call("rotate model-signing").startswith("model-signing has the new key ")
    new = model_key.open_key(folder)
    assert new.hint != old.hint
    assert (folder / "model-signing.1.pub").read_bytes() == old.pem
    assert (folder / "model-signing.1.retired").exists()
    (folder / "model-signing.pub").write_bytes((folder / "model-signing.1.pub").read_bytes())
    (folder / "model-signing.pem").unlink()
    assert model_key.open_key(folder).signed(signature, b"papers")
    assert roles()["model-signing"] == [("", "not here")]
