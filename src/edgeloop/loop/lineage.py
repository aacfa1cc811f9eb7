"""Where an answer came from: device's log, bundle, checks, passes, recipe, data, and who signed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeloop.agent.journal import Journal
from edgeloop.errors import ArtifactMissingError
from edgeloop.store.artifacts import Store
from edgeloop.types import Artifact, Json

JOURNAL = "journal.sqlite"


def trace(
    store: Store, name: str, *, device: Path | None = None, repository: Path | None = None
) -> Json:
    """The whole story of an artifact; with ``device``, ``name`` is an answer id of its log.

    Raises:
        ArtifactMissingError: no such artifact, or the device's log has no such answer.
    """
    answer = find_answer(device, name) if device else None
    artifacts, compared = store.own_lineage(answer["bundle"] if answer else name)
    told: dict[str, Any] = {
        "artifact": artifacts[-1].digest,
        "compared_with": compared,
        "data": [_data(a) for a in artifacts if a.made_by.plugin.startswith("source/")],
        "steps": [_step(a) for a in artifacts if a.kind not in {"finding", "run"}],
        "checks": [_check(a) for a in artifacts if a.kind == "finding"],
    }
    if answer:
        told["answer"] = answer
    if repository:
        told["signers"] = signers(repository, artifacts[-1].digest)
    return told


def find_answer(device: Path, answer: str) -> Json:
    """One line of a device's log.

    Raises:
        ArtifactMissingError: the folder has no log, or the log no such answer.
    """
    path = device / JOURNAL
    if not path.is_file():
        rule = f"must be looked up in a device's folder, which has {JOURNAL}"
        raise ArtifactMissingError(f"answer {answer!r}", rule, got=device)
    journal = Journal(path)
    try:
        entry = journal.find(answer)
    finally:
        journal.close()
    if entry is None:
        raise ArtifactMissingError(f"answer {answer!r}", "must be in the device's log", got=device)
    return asdict(entry)


def signers(repository: Path, digest: str) -> list[Json]:
    """The channels whose present metadata lists a bundle, with the ids of the keys that signed."""
    found = []
    for name, told in _present(repository / "metadata"):
        for target, info in told["signed"].get("targets", {}).items():
            if info["hashes"]["sha256"] == digest.removeprefix("sha256:"):
                keys = [signature["keyid"] for signature in told["signatures"]]
                found.append({"target": target, "metadata": name, "keys": keys})
    return found


def _present(metadata: Path) -> Iterator[tuple[str, Json]]:
    """Every role's file that the present snapshot names."""
    stamp = json.loads((metadata / "timestamp.json").read_bytes())
    version = stamp["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = json.loads((metadata / f"{version}.snapshot.json").read_bytes())
    for role, named in sorted(snapshot["signed"]["meta"].items()):
        name = f"{named['version']}.{role}"
        yield name, json.loads((metadata / name).read_bytes())


def as_text(told: Json) -> str:
    """The story as lines for a person, newest first."""
    lines = []
    if "answer" in told:
        answer = told["answer"]
        lines.append(f"answer    {answer['id']} by release {answer['version']}")
    lines.append(f"artifact  {told['artifact']}")
    lines += [f"signed    {s['target']} by {', '.join(s['keys'])}" for s in told.get("signers", ())]
    lines += [f"check     {c['check']}: {c['verdict']}{_measured(c)}" for c in told["checks"]]
    lines += [f"compared  with {digest}" for digest in told["compared_with"]]
    lines += [f"step      {s['plugin']} -> {s['digest']}" for s in reversed(told["steps"])]
    lines += [
        f"data      {d['name']}: {d['rows']} rows from {_origin(d['provenance'])}"
        for d in told["data"]
    ]
    return "\n".join(lines)


def _measured(check: Json) -> str:
    value = "" if check["value"] is None else f" {check['value']:.6g}"
    return value + (f", limit {check['limit']}" if check["limit"] else "")


def _origin(provenance: Json) -> str:
    """A data set's address and licence, or the request that devices answered."""
    if "request" in provenance:
        devices = ", ".join(provenance["devices"])
        return f"the field, request {provenance['request']}, devices {devices}"
    licence = provenance.get("licence")
    return f"{provenance.get('source')}" + (f" ({licence})" if licence else "")


def _data(artifact: Artifact) -> Json:
    return {
        "digest": artifact.digest,
        "name": artifact.meta["name"],
        "rows": artifact.meta["rows"],
        "provenance": artifact.meta["provenance"],
    }


def _step(artifact: Artifact) -> Json:
    return {
        "digest": artifact.digest,
        "plugin": artifact.made_by.plugin,
        "params": dict(artifact.made_by.params),
        "seed": artifact.made_by.seed,
    }


def _check(artifact: Artifact) -> Json:
    return {
        "digest": artifact.digest,
        "check": artifact.meta["check"],
        "verdict": artifact.meta["verdict"],
        "value": artifact.meta["value"],
        "limit": artifact.meta["limit"],
    }
