"""What an operator's programs call: every endpoint of the control plane as a typed method."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from edgeloop.errors import (
    EdgeloopError,
    NotBelievedError,
    NotFoundError,
    ProtocolError,
    UnreachableError,
    all_errors,
)
from edgeloop.fleet.views import (
    AuditLine,
    DeviceView,
    FactoryOrder,
    FactoryView,
    Health,
    Note,
    PinOrder,
    RollbackOrder,
    RolloutOrder,
    RolloutView,
    SampleOrder,
    SampleRequestView,
    SampleView,
    SerialsOrder,
    TokenOrder,
    TokenView,
    WindowView,
)
from edgeloop.protocol.messages import VERSION, VERSION_HEADER, Message
from edgeloop.types import Json

# (method, url, headers, body) -> (status, body); raises UnreachableError when no answer comes
Transport: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes]]

TIMEOUT = 20.0  # seconds
PAGE = 500
T = TypeVar("T")
M = TypeVar("M", bound=Message)


def over_urllib3(
    timeout: float = TIMEOUT, *, ca: Path | None = None, fingerprint: str = ""
) -> Transport:
    """Requests over one pool of connections, tried once each.

    Over https the control plane shows a certificate that ``ca`` signed, the system's authorities
    where there is no ``ca``; or the very certificate of ``fingerprint``, by whatever name.
    """
    import urllib3

    trust: dict[str, Any] = {"ca_certs": str(ca)} if ca else {}
    if fingerprint:
        trust = {"cert_reqs": "CERT_NONE", "assert_fingerprint": fingerprint}
    pool = urllib3.PoolManager(timeout=timeout, retries=False, **trust)

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            reply = pool.request(method, url, headers=dict(headers), body=body)
        except urllib3.exceptions.SSLError as error:
            raise NotBelievedError(
                f"control plane at {url.partition('/v1')[0]}",
                "must show a certificate that can be believed",
                got=error.args[0] if error.args else error,
                todo="Name its ca.pem in EDGELOOP_CA",
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"control plane at {url.partition('/v1')[0]}",
                "must answer",
                got=type(error).__name__,
                todo="Is it running? `edgeloop fleet up` starts one",
            ) from error
        return reply.status, reply.data

    return send


class FleetClient:
    """The control plane at ``url``, as the operator whose ``token`` this is.

    Every method raises the error that the control plane answers with, as the class of that error's
    number, and UnreachableError when no answer comes. ``ca`` is the file of the authority that
    vouches for it, and what a device needs to believe it.
    """

    def __init__(
        self, url: str, token: str, transport: Transport | None = None, *, ca: Path | None = None
    ) -> None:
        self.url, self.ca = url.rstrip("/"), ca
        self._token, self._send = token, transport or over_urllib3(ca=ca)

    @classmethod
    def of_folder(cls, folder: Path) -> FleetClient:
        """The control plane that runs in ``folder`` on this machine.

        Raises:
            UnreachableError: none runs there, or what it left there cannot be read.
        """
        thing = f"control plane of {folder.name or folder}"
        try:
            told = json.loads((folder / "fleet.json").read_text())
            url, fingerprint = str(told["url"]), str(told.get("fingerprint", ""))
            token = (folder / "operator.token").read_text().strip()
        except (FileNotFoundError, NotADirectoryError) as error:
            todo = "`edgeloop fleet up` starts one"
            raise UnreachableError(thing, "must be running", todo=todo) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            rule = "must have a fleet.json and an operator.token that can be read"
            todo = "`edgeloop fleet up` starts it anew"
            got = f"{type(error).__name__}: {error}"
            raise UnreachableError(thing, rule, got=got, todo=todo) from error
        if fingerprint:
            return cls(url, token, over_urllib3(fingerprint=fingerprint))
        ca = folder / "tls" / "ca.pem"
        return cls(url, token, ca=ca if url.startswith("https://") else None)

    def __repr__(self) -> str:
        return f"FleetClient(url={self.url!r}, token=<hidden>)"

    def health(self) -> Health:
        """Whether it answers and applies its rules."""
        return self._ask(Health, "GET", "/healthz")

    def devices(self, model: str = "") -> list[DeviceView]:
        """Every device, or those of one model, by name."""
        query = "?" + urlencode({"model": model}, errors="replace") if model else ""
        return self._ask(list[DeviceView], "GET", f"/v1/devices{query}")

    def device(self, key: str) -> DeviceView:
        """One device, by its id or its name."""
        return self._ask(DeviceView, "GET", _device(key))

    def hold(self, key: str) -> DeviceView:
        """Select this device for nothing new."""
        return self._ask(DeviceView, "POST", _device(key, "hold"))

    def release_hold(self, key: str) -> DeviceView:
        """The inverse of :meth:`hold`."""
        return self._ask(DeviceView, "POST", _device(key, "release-hold"))

    def pin(self, key: str, name: str, channel: str, version: int) -> DeviceView:
        """Keep this device on one listed release."""
        order = _order(PinOrder, name=name, channel=channel, version=version)
        return self._ask(DeviceView, "POST", _device(key, "pin"), order)

    def unpin(self, key: str) -> DeviceView:
        """The inverse of :meth:`pin`."""
        return self._ask(DeviceView, "POST", _device(key, "unpin"))

    def decommission(self, key: str) -> DeviceView:
        """Listen to this device no more, for ever."""
        return self._ask(DeviceView, "POST", _device(key, "decommission"))

    def revoke(self, key: str) -> DeviceView:
        """Refuse all that this device says, until it is enrolled again."""
        return self._ask(DeviceView, "POST", _device(key, "revoke"))

    def rotate(self, key: str) -> DeviceView:
        """Let this device make itself a new key."""
        return self._ask(DeviceView, "POST", _device(key, "rotate"))

    def release_claim(self, key: str) -> DeviceView:
        """Let this device's serial number be claimed once more."""
        return self._ask(DeviceView, "POST", _device(key, "release-claim"))

    def factories(self) -> list[FactoryView]:
        """Every factory, by name."""
        return self._ask(list[FactoryView], "GET", "/v1/factories")

    def add_factory(self, **told: object) -> FactoryView:
        """Let devices of a factory claim a place; the fields of :class:`FactoryOrder`."""
        return self._ask(FactoryView, "POST", "/v1/factories", _order(FactoryOrder, **told))

    def list_serials(self, factory: str, lines: Sequence[Mapping[str, Json]]) -> FactoryView:
        """Serial numbers that may claim, up to 500 at once."""
        path = f"/v1/factories/{quote(factory, safe='')}/serials"
        return self._ask(FactoryView, "POST", path, _order(SerialsOrder, lines=list(lines)))

    def revoke_factory(self, factory: str) -> FactoryView:
        """Let no further device of this factory claim; those that did stay."""
        path = f"/v1/factories/{quote(factory, safe='')}/revoke"
        return self._ask(FactoryView, "POST", path)

    def create_token(
        self,
        labels: Mapping[str, str] | None = None,
        valid_seconds: float = 86_400,
        *,
        model: str | None = None,
        channel: str = "stable",
        renews: str | None = None,
    ) -> TokenView:
        """A one-time enrolment token; with ``model`` for a device of that model alone.

        With ``renews`` it is for that device, which keeps its history.
        """
        told = {"labels": dict(labels or {}), "model": model, "channel": channel, "renews": renews}
        order = _order(TokenOrder, **told, valid_seconds=valid_seconds)
        return self._ask(TokenView, "POST", "/v1/tokens", order)

    def rollouts(self) -> list[RolloutView]:
        """Every rollout without its jobs, oldest first."""
        return self._ask(list[RolloutView], "GET", "/v1/rollouts")

    def rollout(self, number: int) -> RolloutView:
        """One rollout with every job."""
        return self._ask(RolloutView, "GET", f"/v1/rollouts/{number}")

    def create_rollout(
        self, name: str, channel: str, version: int, *, start: bool = True
    ) -> RolloutView:
        """Bring a listed release to devices by its signed plan."""
        order = _order(RolloutOrder, name=name, channel=channel, version=version, start=start)
        return self._ask(RolloutView, "POST", "/v1/rollouts", order)

    def start(self, number: int) -> RolloutView:
        """Start a draft."""
        return self._ask(RolloutView, "POST", f"/v1/rollouts/{number}/start")

    def pause(self, number: int) -> RolloutView:
        """Offer nothing new until it is resumed."""
        return self._ask(RolloutView, "POST", f"/v1/rollouts/{number}/pause")

    def resume(self, number: int) -> RolloutView:
        """Go on after a pause."""
        return self._ask(RolloutView, "POST", f"/v1/rollouts/{number}/resume")

    def stop(self, number: int, reason: str = "") -> RolloutView:
        """End a rollout early."""
        query = urlencode({"reason": reason}, errors="replace")
        return self._ask(RolloutView, "POST", f"/v1/rollouts/{number}/stop?{query}")

    def roll_back(self, number: int, version: int, select: str = "all") -> RolloutView:
        """Bring devices back to a listed release by hand; gives the rollout that does it."""
        order = _order(RollbackOrder, version=version, select=select)
        return self._ask(RolloutView, "POST", f"/v1/rollouts/{number}/rollback", order)

    def windows(
        self, select: str = "all", bundle: str = "", since: int = 0, limit: int = PAGE
    ) -> list[WindowView]:
        """Up to ``limit`` stored windows of the selected devices after ``since``, oldest first."""
        query = {"select": select, "bundle": bundle, "since": since, "limit": limit}
        asked = urlencode(query, errors="replace")
        return self._ask(list[WindowView], "GET", f"/v1/windows?{asked}")

    def request_samples(
        self, select: str, count: int, per_device: int | None = None, *, model: str | None = None
    ) -> SampleRequestView:
        """Ask the opted-in devices of a selector for samples; with ``model`` those of it alone."""
        asked = {"select": select, "model": model, "count": count, "per_device": per_device}
        order = _order(SampleOrder, **asked)
        return self._ask(SampleRequestView, "POST", "/v1/sample-requests", order)

    def sample_requests(self) -> list[SampleRequestView]:
        """Every request for samples, oldest first."""
        return self._ask(list[SampleRequestView], "GET", "/v1/sample-requests")

    def close_samples(self, number: int) -> SampleRequestView:
        """Take no more samples for a request."""
        return self._ask(SampleRequestView, "POST", f"/v1/sample-requests/{number}/close")

    def samples(self, request: int) -> Iterator[SampleView]:
        """Every sample of a request, in the order in which they came, page by page."""
        since = 0
        while True:
            query = urlencode({"request": request, "since": since, "limit": PAGE})
            page = self._ask(list[SampleView], "GET", f"/v1/samples?{query}")
            yield from page
            if len(page) < PAGE:
                return
            since = page[-1].seq

    def audit(self, after: int = 0) -> Iterator[AuditLine]:
        """Every line of the audit log after ``after``, oldest first, page by page."""
        while True:
            query = urlencode({"after": after, "limit": PAGE})
            page = self._ask(list[AuditLine], "GET", f"/v1/audit?{query}")
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].id

    def newest_audit(self, last: int, after: int = 0) -> list[AuditLine]:
        """The ``last`` lines of the audit log after ``after``, oldest first."""
        query = urlencode({"after": after, "last": last})
        return self._ask(list[AuditLine], "GET", f"/v1/audit?{query}")

    def note(self, action: str, subject: str, detail: Mapping[str, Json]) -> AuditLine:
        """Record an alarm or a fired trigger; ``action`` begins with ``trigger.``."""
        message = _order(Note, action=action, subject=subject, detail=dict(detail))
        return self._ask(AuditLine, "POST", "/v1/audit", message)

    def _ask(self, kind: type[T], method: str, path: str, message: Message | None = None) -> T:
        headers = {"Authorization": f"Bearer {self._token}", VERSION_HEADER: str(VERSION)}
        body = b""
        if message is not None:
            headers["Content-Type"] = "application/json"
            body = message.model_dump_json().encode()
        status, answer = self._send(method, self.url + path, headers, body)
        if status >= 400:
            raise error_of(status, answer)
        try:
            return TypeAdapter(kind).validate_json(answer)
        except ValidationError as error:
            raise ProtocolError(f"answer to {method} {path}", "must fit its schema") from error


def _device(key: str, verb: str = "") -> str:
    if key.strip(".") == "":  # no path can say it
        raise NotFoundError(f"device {key!r}", "must be the id or the name of an enrolled device")
    quoted = quote(key, safe="", errors="replace")
    return f"/v1/devices/{quoted}" + (f"/{verb}" if verb else "")


def _order(kind: type[M], **figures: object) -> M:
    """A message that fits its schema, before anything is sent.

    Raises:
        ProtocolError: it does not.
    """
    try:
        return kind.model_validate_json(json.dumps(figures))  # so that it is text that can go out
    except ValidationError as error:
        faults = "; ".join(
            ": ".join([*filter(None, [".".join(map(str, fault["loc"]))]), fault["msg"]])
            for fault in error.errors()
        )
        raise ProtocolError(kind.__name__, "must fit its schema", got=faults) from error


def error_of(status: int, answer: bytes) -> EdgeloopError:
    """The error that an answer tells, as the class of its number."""
    try:
        told = json.loads(answer)["error"]
        kind = next(one for one in all_errors() if one.number == told["number"])
        return kind(told["thing"], told["rule"], got=told["got"], todo=told["todo"])
    except (ValueError, KeyError, TypeError, StopIteration):
        return UnreachableError("control plane", "must answer as one does", got=f"status {status}")
