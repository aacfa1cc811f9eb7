"""What a release carries beside its bundle: made once, kept with it, believed by other tools."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.errors import KeyFileError, OverrideError
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import run_loop
from edgeloop.release.papers import BILL
from edgeloop.store.artifacts import Store
from edgeloop.store.referrers import papers

ABOUT = "stable/toy@1"


def run(path: Path, *overrides: str):
    loop = load_loop(path, overrides)
    store = Store(loop.path(loop.settings.store))
    return store, run_loop(loop, store)


def written(path: Path, out: Path) -> Path:
    line = ["release", "papers", "1", "--loop", str(path), "--out", str(out)]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0
    assert sorted(done.output.split()) == sorted(
        str(one.relative_to(out)) for one in out.rglob("*") if one.is_file()
    )
    return out


def model_signing(out: Path, part: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "model_signing", "verify", "key", part]
    line += ["--signature", f"{part}.sig", "--public_key", "model-signing.pub"]
    return subprocess.run(line, cwd=out, capture_output=True, text=True, check=False)


def names(store: Store, digest: str) -> list[str]:
    return [paper.name for paper in papers(store.layout, digest, ABOUT)]


ALL = ["bom.cdx.json", "01-toy_right.json", "bundle.sig", "papers.sig"]


def test_a_release_carries_its_bill_its_findings_and_two_signatures(loop_path):
    store, result = run(loop_path)
    assert names(store, result.bundle.digest) == ALL
    (told,) = [json.loads(p.data) for p in papers(store.layout, result.bundle.digest, ABOUT)[1:2]]
    assert (told["kind"], told["meta"]["verdict"]) == ("finding", "pass")
    known = [artifact.digest for artifact in store.artifacts()]
    assert (store.rebuild(), {a.digest for a in store.artifacts()}) == (len(known), set(known))
    assert (loop_path.parent / "keys" / "model-signing.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(
    importlib.util.find_spec("model_signing") is None, reason="the extra dev has model-signing"
)
def test_the_command_line_of_openssf_believes_both_signatures_and_no_changed_file(
    loop_path, tmp_path
):
    run(loop_path)
    out = written(loop_path, tmp_path / "out")
    for part in ("bundle", "papers"):
        done = model_signing(out, part)
        assert (done.returncode, done.stdout) == (0, "Verification succeeded\n"), done.stderr
    (out / "bundle" / "toy.json").write_bytes(b"{}")
    (out / "papers" / BILL).rename(out / "papers" / "other.json")
    assert [model_signing(out, part).returncode for part in ("bundle", "papers")] == [1, 1]


def test_an_unchanged_run_leaves_every_paper_as_it_is_and_needs_no_key(loop_path):
    store, first = run(loop_path)
    before = (store.folder / "index.json").read_bytes(), set(store.layout.digests())
    (loop_path.parent / "keys" / "model-signing.pem").unlink()
    _, second = run(loop_path)
    assert (second.executed, second.bundle) == (0, first.bundle)
    assert ((store.folder / "index.json").read_bytes(), set(store.layout.digests())) == before


def test_a_lost_key_is_named_and_another_pair_signs_anew(loop_path):
    store, first = run(loop_path)
    keys = loop_path.parent / "keys"
    (keys / "model-signing.pem").unlink()
    with pytest.raises(KeyFileError) as raised:
        run(loop_path, "passes.0.toy_round.digits=1")
    assert str(raised.value) == (
        f"[E405] key file {keys / 'model-signing.pem'} must be there, as model-signing.pub is."
        " Put it back and run again, or move the public half away for a new pair"
    )
    (keys / "model-signing.pub").rename(keys / "model-signing.1.pub")
    old = papers(store.layout, first.bundle.digest, ABOUT)
    run(loop_path)
    new = papers(store.layout, first.bundle.digest, ABOUT)
    assert [a.name for a, b in zip(old, new, strict=True) if a != b] == ["bundle.sig", "papers.sig"]


def test_papers_go_with_their_release_and_stay_with_it(loop_path, tmp_path):
    store, first = run(loop_path)
    _, second = run(loop_path, "passes.0.toy_round.digits=1")
    store.collect()
    assert names(store, first.bundle.digest) == ALL
    blobs = set(store.layout.digests())
    store.collect(gone=["toy-stable-1"])  # the second was compared with the first, which stays
    assert names(store, first.bundle.digest) == ALL
    rows = second.steps[0].artifact.digest
    store.collect(keep=[rows], gone=["toy-stable-1", "toy-stable-2", "toy-run"])
    assert (names(store, first.bundle.digest), store.layout.referrers()) == ([], {})
    assert set(store.layout.digests()) < blobs


def test_a_damaged_paper_is_seen_and_made_again(loop_path):
    store, result = run(loop_path)
    bill = json.loads(store.layout.read(store.layout.referrers()[result.bundle.digest]))
    manifest = bill["manifests"][0]["digest"]
    content = json.loads(store.layout.read(manifest))["layers"][0]["digest"]
    store.layout.blob(content).write_bytes(b"{}")
    (damage,) = store.verify()
    assert (damage.blob, damage.artifacts) == (content, (result.bundle.digest,))
    assert "toy-stable-1" in damage.tags
    store.remove_damaged([damage])
    assert run(loop_path)[1].executed == 0
    assert (store.verify(), names(store, result.bundle.digest)) == ([], ALL)


def test_a_lost_list_of_papers_stops_no_run(loop_path):
    store, result = run(loop_path)
    store.layout.remove(store.layout.referrers()[result.bundle.digest])
    assert len(store.verify()) == 1
    run(loop_path)
    assert (store.verify(), names(store, result.bundle.digest)) == ([], ALL)


def test_papers_are_not_written_over_other_files(loop_path, tmp_path):
    run(loop_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(OverrideError) as raised:
        written(loop_path, tmp_path / "mine")
    assert str(raised.value) == (
        f"[E103] folder {tmp_path / 'mine'} must be an empty folder, or not be there yet."
        " Name another with --out"
    )


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs Debian's skopeo; CI installs it")
def test_skopeo_finds_the_papers_by_the_fallback_tag(loop_path, tmp_path):
    store, result = run(loop_path)
    name = result.bundle.digest.replace(":", "-")
    line = ["skopeo", "inspect", "--raw", f"oci:{store.folder}:{name}"]
    listed = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
    assert [one["artifactType"] for one in listed["manifests"]] == [
        "application/vnd.cyclonedx+json",
        "application/vnd.edgeloop.finding.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    ]
    copy = ["skopeo", "copy", "-q", "--all", f"oci:{store.folder}:{name}"]
    subprocess.run([*copy, f"oci:{tmp_path / 'copy'}:{name}"], check=True, capture_output=True)
    assert names(Store(tmp_path / "copy"), result.bundle.digest) == ALL
