"""Answers over loopback HTTP: the Open Inference Protocol v2 (REST, JSON tensors), and feedback.

``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/<name>``,
``/v2/models/<name>/ready``; ``POST /v2/models/<name>/infer`` (one row, shape ``[1, ...]``) and
``POST /v2/edgeloop/feedback`` (``{"answer_id": ..., "truth": ...}``). The reply of ``infer``
carries ``answer_id``, ``bundle`` and the answer's own fields as ``parameters``.
A POST says ``Content-Type: application/json``, and no web page of another origin may ask.
Protocol: https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeloop.errors import (
    EdgeloopError,
    InputMismatchError,
    ModelError,
    NoSlotError,
    NotFoundError,
    PortInUseError,
    ProtocolError,
)

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.types import Array, Json

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LARGEST_BODY = 32 << 20  # bytes
READ_SECONDS = 30.0
DATATYPES = {  # the protocol's names -> numpy's
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
STATUS: dict[type[EdgeloopError], int] = {
    InputMismatchError: 400,
    ProtocolError: 400,
    NotFoundError: 404,
    ModelError: 500,
    NoSlotError: 503,
}


@contextmanager
def serving(agent: Agent, listen: str) -> Iterator[str]:
    """Serve ``agent`` on ``listen`` (``127.0.0.1:8080``, ``[::1]:8080``); gives the address.

    Port 0 takes any that is free.

    Raises:
        ProtocolError: the address is not this machine's own.
        PortInUseError: another program listens there.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if host not in LOOPBACK or not port.isdigit():
        raise ProtocolError(
            f"listen address {listen!r}", "must be loopback and a port, such as 127.0.0.1:8080"
        )
    try:
        server = _server(host)((host, int(port)), _handler(agent))
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        raise PortInUseError(
            f"address {listen}", "must be free", todo="Choose another port, or 0 for any"
        ) from fault
    thread = threading.Thread(
        target=server.serve_forever, name="endpoint", kwargs={"poll_interval": 0.2}
    )
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    return Server


def _handler(agent: Agent) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        the_agent = agent

    return Handler


class _Handler(BaseHTTPRequestHandler):
    """One request. Every reply is JSON."""

    protocol_version = "HTTP/1.1"
    timeout = READ_SECONDS
    the_agent: Agent

    def do_GET(self) -> None:
        self._reply(lambda: asked(self.the_agent, self.path))

    def do_POST(self) -> None:
        self._reply(lambda: told(self.the_agent, self.path, self._body()))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's name)
        """The journal logs answers; a line per request would say it twice."""

    def _outcome(self, work: Callable[[], Json]) -> tuple[int, Json]:
        refused = refusal(self.command, dict(self.headers.items()))
        if refused is not None:
            return refused[0], _said(refused[1])
        try:
            return 200, work()
        except EdgeloopError as fault:
            status = next((s for kind, s in STATUS.items() if isinstance(fault, kind)), 500)
            return status, _said(fault)

    def _reply(self, work: Callable[[], Json]) -> None:
        status, said = self._outcome(work)
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status != 200:  # the body may not have been read
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> Json:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            raise ProtocolError(
                "request body", f"must have a length of at most {LARGEST_BODY} bytes", got=length
            )
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError as fault:
            raise ProtocolError("request body", "must be JSON", got=fault) from fault


def refusal(method: str, headers: Mapping[str, str]) -> tuple[int, EdgeloopError] | None:
    """Status and error for what a web page made a browser send here; None when there is none.

    A page can send a simple POST to any address without asking first, but never one of JSON.
    """
    loopback = "must name this machine by loopback"
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if not _is_loopback(f"//{host}"):
        return 400, ProtocolError("header Host", loopback, got=repr(host))
    if origin is not None and not _is_loopback(origin):
        return 403, ProtocolError("header Origin", loopback, got=repr(origin))
    kind = headers.get("Content-Type", "")
    if method == "POST" and kind.partition(";")[0].strip().lower() != "application/json":
        rule = "must be application/json"
        return 415, ProtocolError("header Content-Type", rule, got=repr(kind))
    return None


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOOPBACK
    except ValueError:
        return False


def _said(fault: EdgeloopError) -> Json:
    return {"error": str(fault), "number": fault.number}


def asked(agent: Agent, path: str) -> Json:
    """The answer to a GET.

    Raises:
        NotFoundError: no such path or model.
        NoSlotError: a model's path, and no bundle is installed.
    """
    name = agent.settings.model
    if path == "/v2":
        return {"name": "edgeloop", "version": "2", "extensions": ["edgeloop_feedback"]}
    if path == "/v2/health/live":
        return {"live": True}
    if path in {"/v2/health/ready", f"/v2/models/{name}/ready"}:
        agent.slot()
        return {"name": name, "ready": True}
    if path == f"/v2/models/{name}":
        return _metadata(agent)
    raise NotFoundError(
        f"path {path}", "must be one of this agent's", todo=f"The model is {name!r}"
    )


def told(agent: Agent, path: str, body: Json) -> Json:
    """The answer to a POST.

    Raises:
        NotFoundError: no such path or model.
        ProtocolError: the body is not what the protocol says.
        InputMismatchError: the inputs, the answer id or the truth do not fit.
    """
    if not isinstance(body, dict):
        raise ProtocolError("request body", "must be a JSON object")
    if path == f"/v2/models/{agent.settings.model}/infer":
        return _infer(agent, body)
    if path == "/v2/edgeloop/feedback":
        if "answer_id" not in body or "truth" not in body:
            raise ProtocolError("request body", "must have answer_id and truth")
        agent.feedback(str(body["answer_id"]), body["truth"])
        return {"answer_id": body["answer_id"]}
    return asked(agent, f"{path} (POST)")


def _infer(agent: Agent, body: Mapping[str, Any]) -> Json:
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        raise ProtocolError("request body", "must have a list of inputs")
    answer = agent.answer(dict(_tensor(item) for item in inputs))
    flat = {k: v for k, v in answer.result.items() if isinstance(v, str | int | float | bool)}
    return {
        "model_name": agent.settings.model,
        "model_version": str(answer.version),
        "id": str(body.get("id", answer.id)),
        "outputs": [_stated(name, values) for name, values in answer.outputs.items()],
        "parameters": {"answer_id": answer.id, "bundle": answer.bundle, **flat},
    }


def _tensor(item: Any) -> tuple[str, Array]:
    """One input: ``name``, ``shape``, ``datatype``, ``data`` (flat or nested)."""
    import numpy as np

    try:
        name, shape = str(item["name"]), [int(size) for size in item["shape"]]
        dtype = DATATYPES[item["datatype"]]
        return name, np.asarray(item["data"], dtype=dtype).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise ProtocolError(
            "input", "must have name, shape, datatype and data that fit together", got=repr(fault)
        ) from fault


def _stated(name: str, values: Array) -> Json:
    datatype = next(
        (ours for ours, theirs in DATATYPES.items() if theirs == str(values.dtype)), "BYTES"
    )
    return {
        "name": name,
        "shape": list(values.shape),
        "datatype": datatype,
        "data": values.reshape(-1).tolist(),
    }


def _metadata(agent: Agent) -> Json:
    slot = agent.slot()
    names = {theirs: ours for ours, theirs in DATATYPES.items()}
    inputs = [(spec.name, spec.dtype, spec.shape) for spec in slot.inputs]
    golden = slot.bundle.golden_samples()[1]
    outputs = [(n, str(golden[n].dtype), golden[n].shape[1:]) for n in slot.kind.outputs]
    return {
        "name": agent.settings.model,
        "versions": [str(slot.ref.version)],
        "platform": slot.bundle.info.runtime,
        **{
            key: [
                {"name": n, "datatype": names.get(dtype, "BYTES"), "shape": [1, *shape]}
                for n, dtype, shape in tensors
            ]
            for key, tensors in (("inputs", inputs), ("outputs", outputs))
        },
    }
