"""The Open Inference Protocol v2 (REST, JSON tensors) over an agent: paths, and what answers them.

``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/<name>`` and its ``/ready``;
``POST /v2/models/<name>/infer`` (one row, shape ``[1, ...]``) and ``POST /v2/edgeloop/feedback``
(``{"answer_id": ..., "truth": ...}``). ``/v2/models/<name>/versions/<version>`` is the same for the
release in charge, when it has that version. The reply of ``infer`` carries ``answer_id``,
``bundle`` and the answer's own fields as ``parameters``.
Protocol: https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeloop.agent import tensors
from edgeloop.errors import InputMismatchError, NotFoundError, ProtocolError

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.agent.loaded import Loaded
    from edgeloop.types import Json

Work: TypeAlias = "Callable[[Agent, str, Mapping[str, Any]], Json]"  # version, body -> reply
OF_A_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(|/ready|/infer)")


@dataclass(frozen=True, kw_only=True)
class Route:
    """What one path takes. ``version`` is the release that was asked for; "" is any."""

    method: str
    work: Work
    version: str = ""


def find(path: str, model: str) -> Route:
    """The route of a path.

    Raises:
        NotFoundError: no such path or model.
    """
    found = OF_A_MODEL.fullmatch(path)
    if path in PATHS:
        method, work = PATHS[path]
        return Route(method=method, work=work)
    if found is None or found[1] != model:
        raise NotFoundError(
            f"path {path}", "must be one of this agent's", todo=f"The model is {model!r}"
        )
    method, work = MODEL_PATHS[found[3]]
    return Route(method=method, work=work, version=found[2] or "")


def _server(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del agent, version, body
    return {"name": "edgeloop", "version": "2", "extensions": ["edgeloop_feedback"]}


def _live(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del agent, version, body
    return {"live": True}


def _ready(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del body
    _slot(agent, version)
    return {"name": agent.settings.model, "ready": True}


def _metadata(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del body
    slot = _slot(agent, version)
    golden = slot.bundle.golden_samples()[1]
    outputs = [(name, golden[name]) for name in _outputs(slot)]
    return {
        "name": agent.settings.model,
        "versions": [str(slot.ref.version)],
        "platform": slot.bundle.info.runtime,
        "inputs": [tensors.described(i.name, i.dtype, i.shape) for i in slot.inputs],
        "outputs": [tensors.described(n, str(v.dtype), v.shape[1:]) for n, v in outputs],
    }


def _infer(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    slot = _slot(agent, version)
    inputs, chosen = body.get("inputs"), _chosen(slot, body.get("outputs"))
    if not isinstance(inputs, list):
        raise ProtocolError("request body", "must have a list of inputs")
    expected = {spec.name: tensors.datatype(spec.dtype) for spec in slot.inputs}
    answer = agent.answer(dict(tensors.read(item, expected) for item in inputs))
    _check_version(agent, version, answer.version)  # an update may have switched meanwhile
    flat = {k: v for k, v in answer.result.items() if isinstance(v, str | int | float | bool)}
    return {
        "model_name": agent.settings.model,
        "model_version": str(answer.version),
        "id": str(body.get("id", answer.id)),
        "outputs": [tensors.written(n, answer.outputs[n]) for n in chosen or answer.outputs],
        "parameters": {"answer_id": answer.id, "bundle": answer.bundle, **flat},
    }


def _feedback(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version
    if "answer_id" not in body or "truth" not in body:
        raise ProtocolError("request body", "must have answer_id and truth")
    agent.feedback(str(body["answer_id"]), body["truth"])
    return {"answer_id": body["answer_id"]}


PATHS: dict[str, tuple[str, Work]] = {
    "/v2": ("GET", _server),
    "/v2/health/live": ("GET", _live),
    "/v2/health/ready": ("GET", _ready),
    "/v2/edgeloop/feedback": ("POST", _feedback),
}
MODEL_PATHS: dict[str, tuple[str, Work]] = {  # after the model's name, or that of its version
    "": ("GET", _metadata),
    "/ready": ("GET", _ready),
    "/infer": ("POST", _infer),
}


def _slot(agent: Agent, version: str) -> Loaded:
    slot = agent.slot()
    _check_version(agent, version, slot.ref.version)
    return slot


def _check_version(agent: Agent, version: str, present: int) -> None:
    if version not in {"", str(present)}:
        raise NotFoundError(
            f"version {version} of model {agent.settings.model}",
            "must be the release in charge",
            got=f"release {present} in charge",
        )


def _outputs(slot: Loaded) -> tuple[str, ...]:
    """Every output of a model; those that its answer kind reads come first."""
    golden = slot.bundle.golden_samples()[1]
    kinds = slot.kind.outputs
    return (*kinds, *sorted(set(golden) - set(kinds)))


def _chosen(slot: Loaded, wanted: Any) -> tuple[str, ...]:
    """The outputs that a request names; none means all."""
    if wanted is None:
        return ()
    if not isinstance(wanted, list) or not all(isinstance(item, dict) for item in wanted):
        raise ProtocolError("request body", "must have outputs that are a list of objects")
    names = tuple(str(item.get("name")) for item in wanted)
    if not set(names) <= set(slot.kind.outputs):  # the others are known to the golden samples
        _check_outputs(names, _outputs(slot))
    return names


def _check_outputs(names: Iterable[str], known: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputMismatchError(
            "outputs", f"must be of {', '.join(known)}", got=", ".join(unknown)
        )
