"""What each release carries beside its bundle: bill of materials, findings, and two signatures.

They hang on the bundle as OCI referrers. One signature is over the bundle's files and one over the
other papers, so that whoever has the public key can check both with OpenSSF Model Signing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeloop import durable
from edgeloop.errors import OverrideError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.bill_of_materials import BILL_TYPE, bill
from edgeloop.release.bundle import PLAIN_NAME, layers_of
from edgeloop.release.model_key import PUBLIC, ModelKey
from edgeloop.release.model_signing import SIGNATURE_TYPE, holds, signature, statement
from edgeloop.store import referrers
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import digest_of
from edgeloop.store.manifest import layers_of as parts_of
from edgeloop.store.referrers import Paper
from edgeloop.types import Layer

BILL = "bom.cdx.json"
FINDING_TYPE = "application/vnd.edgeloop.finding.v1+json"
BUNDLE, PAPERS = "bundle", "papers"  # what is signed, and its folder when written out


@dataclass(frozen=True, kw_only=True)
class Papers:
    """A release's papers, and what its bundle consists of."""

    ref: ReleaseRef
    layers: tuple[Layer, ...]
    told: tuple[Paper, ...]  # the bill and the findings
    signatures: tuple[Paper, ...]


def attach(store: Store, ref: ReleaseRef, key: ModelKey) -> Papers:
    """Give a release its papers; what it has already and is the same stays as it is.

    Raises:
        KeyFileError: something must be signed, and the private half of the key is not here.
    """
    layers = layers_of(store.layout.read(ref.digest), ref.digest)
    made_of, _ = store.own_lineage(ref.digest)
    told = (
        Paper(name=BILL, media_type=BILL_TYPE, data=bill(ref, made_of, layers)),
        *_findings(store, ref.digest),
    )
    about = f"{ref.channel}/{ref.name}@{ref.version}"
    known = {one.name: one.data for one in referrers.papers(store.layout, ref.digest, about)}
    signed = {
        BUNDLE: {layer.name: layer.digest for layer in layers},
        PAPERS: {paper.name: digest_of(paper.data) for paper in told},
    }
    signatures = tuple(
        _signed(f"{name}.sig", statement(f"{about}/{name}", files), known, key)
        for name, files in signed.items()
    )
    referrers.attach(store.layout, ref.digest, about, (*told, *signatures))
    return Papers(ref=ref, layers=layers, told=told, signatures=signatures)


def write(papers: Papers, store: Store, key: ModelKey, folder: Path) -> list[str]:
    """Write a release and its papers as plain files, which other tools read; gives their names.

    Raises:
        OverrideError: there is something in the folder already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        rule = "must be an empty folder, or not be there yet"
        raise OverrideError(f"folder {folder}", rule, todo="Name another with --out")
    files = {
        PUBLIC: key.pem,
        **{paper.name: paper.data for paper in papers.signatures},
        **{f"{PAPERS}/{paper.name}": paper.data for paper in papers.told},
    }
    for place in (BUNDLE, PAPERS):
        (folder / place).mkdir(parents=True)
    for layer in papers.layers:
        store.layout.check(layer.digest)
        _copy(store.layout.blob(layer.digest), folder / BUNDLE / layer.name)
    for name, data in files.items():
        durable.write(folder / name, data)
    return sorted([*files, *(f"{BUNDLE}/{layer.name}" for layer in papers.layers)])


def _copy(source: Path, target: Path) -> None:
    with durable.room(target):
        shutil.copyfile(source, target)


def _findings(store: Store, bundle: str) -> Iterator[Paper]:
    """Each finding that the bundle was made from, as the store describes it."""
    parents = [store.open(parent) for parent in store.open(bundle).parents if store.has(parent)]
    found = [one for one in parents if one.kind == "finding"]
    for number, one in enumerate(found, start=1):
        _, description = parts_of(store.layout.read(one.digest), one.digest)
        named = ".".join(filter(None, (one.meta.get("variant"), one.meta["check"])))
        check = named if PLAIN_NAME.fullmatch(named) else "check"
        data = store.layout.read(description.digest)
        yield Paper(name=f"{number:02}-{check}.json", media_type=FINDING_TYPE, data=data)


def _signed(name: str, told: bytes, known: Mapping[str, bytes], key: ModelKey) -> Paper:
    """The signature of a statement: the one that is known while it holds, else a new one."""
    data = known.get(name, b"")
    if not holds(data, told, key):
        data = signature(told, key)
    return Paper(name=name, media_type=SIGNATURE_TYPE, data=data)
