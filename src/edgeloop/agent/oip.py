"""The Open Inference Protocol v2 (REST, JSON tensors) over an agent: paths, and what answers them.

``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/<name>`` and its ``/ready``;
``POST /v2/models/<name>/infer`` (one row, shape ``[1, ...]``) and ``POST /v2/edgeloop/feedback``
(``{"answer_id": ..., "truth": ...}``); ``update_paths`` has what is about updates.
``generate_stream`` takes what ``infer`` takes and gives a text in pieces, as Server-Sent Events.
``/v2/models/<name>/versions/<version>`` is the same for the release in charge, when it has that
version. The reply of ``infer`` carries ``answer_id``, ``bundle``, ``variant`` and the answer's own
fields as ``parameters``.
Protocol: https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeloop.agent import tensors, update_paths
from edgeloop.errors import EdgeloopError, InputMismatchError, NotFoundError, ProtocolError

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.agent.answering import Answer
    from edgeloop.agent.loaded import Loaded
    from edgeloop.agent.streaming import Streaming
    from edgeloop.types import Json

# version, body -> reply: JSON, or pieces of a body that is sent as it comes
Work: TypeAlias = "Callable[[Agent, str, Mapping[str, Any]], Json | Generator[str]]"
OF_A_MODEL = re.compile(
    r"/v2/models/([^/]+)(?:/versions/([^/]+))?(|/ready|/infer|/generate_stream)"
)


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
    return {"name": "edgeloop", "version": "2", "extensions": EXTENSIONS}


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
    chosen = _chosen(slot, body.get("outputs"))
    answer = agent.answer(_inputs(slot, body))
    _check_version(agent, version, answer.version)  # an update may have switched meanwhile
    return {
        "model_name": agent.settings.model,
        "model_version": str(answer.version),
        "id": str(body.get("id", answer.id)),
        "outputs": [tensors.written(n, answer.outputs[n]) for n in chosen or answer.outputs],
        "parameters": _parameters(answer),
    }


def _inputs(slot: Loaded, body: Mapping[str, Any]) -> dict[str, Any]:
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        raise ProtocolError("request body", "must have a list of inputs")
    expected = {spec.name: tensors.datatype(spec.dtype) for spec in slot.inputs}
    return dict(tensors.read(item, expected) for item in inputs)


def _parameters(answer: Answer) -> dict[str, Json]:
    flat = {k: v for k, v in answer.result.items() if isinstance(v, str | int | float | bool)}
    return {"answer_id": answer.id, "bundle": answer.bundle, "variant": answer.variant, **flat}


def _generate(agent: Agent, version: str, body: Mapping[str, Any]) -> Generator[str]:
    """Server-Sent Events, behind the first: a refusal is raised before anything is sent."""
    slot = _slot(agent, version)
    stream = agent.stream(_inputs(slot, body))
    _check_version(agent, version, stream.version)
    events = _events(agent.settings.model, stream)
    return _behind(next(events), events)


def _behind(first: str, events: Generator[str]) -> Generator[str]:
    with closing(events):
        yield first
        yield from events


def _events(model: str, stream: Streaming) -> Generator[str]:
    """One event per piece, then the whole answer's parameters; or a fault as the last event."""
    about = {"model_name": model, "model_version": str(stream.version), "id": stream.id}
    begun = False
    with closing(stream):
        try:
            for piece in stream:
                yield _event({**about, "text_output": piece})
                begun = True
        except EdgeloopError as fault:
            if not begun:
                raise
            yield _event({"error": str(fault), "number": fault.number})
    if stream.answer is not None:
        yield _event({**about, "text_output": "", "parameters": _parameters(stream.answer)})


def _event(said: Json) -> str:
    return f"data: {json.dumps(said)}\n\n"


def _feedback(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version
    if "answer_id" not in body or "truth" not in body:
        raise ProtocolError("request body", "must have answer_id and truth")
    agent.feedback(str(body["answer_id"]), body["truth"])
    return {"answer_id": body["answer_id"]}


EXTENSIONS = ["edgeloop_feedback", "edgeloop_update", "generate_stream"]
PATHS: dict[str, tuple[str, Work]] = {
    "/v2": ("GET", _server),
    "/v2/health/live": ("GET", _live),
    "/v2/health/ready": ("GET", _ready),
    "/v2/edgeloop/feedback": ("POST", _feedback),
    **update_paths.PATHS,
}
MODEL_PATHS: dict[str, tuple[str, Work]] = {  # after the model's name, or that of its version
    "": ("GET", _metadata),
    "/ready": ("GET", _ready),
    "/infer": ("POST", _infer),
    "/generate_stream": ("POST", _generate),
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
