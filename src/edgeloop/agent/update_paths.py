"""What an application in another process can ask about updates, beside the inference protocol.

``GET /v2/edgeloop/update``: how it stands, and what it waits for.
``POST /v2/edgeloop/notices`` (``{"after": "", "seconds": 20}``): what came since, as soon as it
comes; ask again with the ``after`` of the reply.
``POST /v2/edgeloop/postpone`` (``{"seconds": 3600}``): a user says "not now"; 0 is now after all.
``POST /v2/edgeloop/complaint`` (``{"answer_id": ..., "text": ...}``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeloop.errors import ProtocolError

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.types import Json


def _update(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version, body
    told = agent.report()
    return {
        "state": str(told.state),
        "running": told.running and told.running.version,
        "trying": told.trying and told.trying.version,
        "waiting": told.waiting,
        "waiting_until": told.waiting_until,
        "postpone_seconds": agent.longest_postponement,
    }


def _notices(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version
    after, seconds = body.get("after", ""), body.get("seconds", 0)
    if not isinstance(after, str):
        raise ProtocolError("after", "must be a text", got=repr(after))
    behind, found = agent.notices(after, _seconds(seconds))
    return {"after": behind, "notices": [notice.told() for notice in found]}


def _postpone(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version
    seconds = _seconds(body.get("seconds"))
    agent.postpone(seconds)
    return {"postponed_seconds": seconds}


def _complaint(agent: Agent, version: str, body: Mapping[str, Any]) -> Json:
    del version
    if not isinstance(body.get("answer_id"), str) or not isinstance(body.get("text"), str):
        raise ProtocolError("request body", "must have answer_id and text, both texts")
    agent.complain(body["answer_id"], body["text"])
    return {"answer_id": body["answer_id"]}


def _seconds(told: object) -> float:
    """A number of seconds; True, NaN and negative ones are none."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < 1e12:
        raise ProtocolError("seconds", "must be a number of seconds", got=repr(told))
    return float(told)


PATHS: dict[str, tuple[str, Callable[[Agent, str, Mapping[str, Any]], Json]]] = {
    "/v2/edgeloop/update": ("GET", _update),
    "/v2/edgeloop/notices": ("POST", _notices),
    "/v2/edgeloop/postpone": ("POST", _postpone),
    "/v2/edgeloop/complaint": ("POST", _complaint),
}
