"""What operators ask over HTTP. Each request bears an operator's token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query

from edgeloop.fleet import audit, conduct, operators, overview, signals
from edgeloop.fleet.device_api import PlaneOf
from edgeloop.fleet.plane import Plane
from edgeloop.fleet.verbs import Verb
from edgeloop.fleet.views import (
    AuditLine,
    DeviceView,
    Note,
    PinOrder,
    RollbackOrder,
    RolloutOrder,
    RolloutView,
    SampleOrder,
    SampleRequestView,
    SampleView,
    TokenOrder,
    TokenView,
    WindowView,
)

router = APIRouter(prefix="/v1", tags=["operators"])
VERBS = {Verb.START: conduct.start, Verb.PAUSE: conduct.pause, Verb.RESUME: conduct.resume}
DEVICE_VERBS = {
    "hold": operators.hold,
    "release-hold": operators.release_hold,
    "unpin": operators.unpin,
    "decommission": operators.decommission,
    "revoke": operators.revoke,
    "rotate": operators.ask_rotation,
    "release-claim": operators.release_claim,
}


def the_operator(plane: PlaneOf, authorization: Annotated[str, Header()] = "") -> str:
    """Who is asking, as the audit log names them."""
    with plane.database.read() as session:
        return operators.who(session, authorization)


Actor = Annotated[str, Depends(the_operator)]
LARGEST = 2**31 - 1  # of a number that the database gives
Number = Annotated[int, Path(ge=1, le=LARGEST)]
RequestNumber = Annotated[int, Query(ge=1, le=LARGEST)]
After = Annotated[int, Query(ge=0, le=LARGEST, description="give what is after this number")]
Last = Annotated[int, Query(ge=1, le=5000, description="only the newest so many")]
Reason = Annotated[str, Query(max_length=1000)]
Limit = Annotated[int, Query(ge=1, le=5000)]


@router.get("/devices")
def devices(plane: PlaneOf, _actor: Actor, model: str = "") -> list[DeviceView]:
    """Every device, or those of one model, by name."""
    with plane.database.read() as session:
        return operators.devices(session, model)


@router.get("/devices/{key}")
def device(key: str, plane: PlaneOf, _actor: Actor) -> DeviceView:
    """One device, by its id or its name."""
    with plane.database.read() as session:
        return operators.device_view(operators.find(session, key))


def _device_verb(name: str) -> None:
    verb = DEVICE_VERBS[name]

    def act(key: str, plane: PlaneOf, actor: Actor) -> DeviceView:
        with plane.database.begin() as session:
            row = operators.find(session, key)
            verb(session, row, actor, plane.clock.now())
            return operators.device_view(row)

    what = (verb.__doc__ or "").split("\n", maxsplit=1)[0]
    router.post(f"/devices/{{key}}/{name}", name=name, description=what)(act)


for _name in DEVICE_VERBS:
    _device_verb(_name)


@router.post("/devices/{key}/pin")
def pin(key: str, order: PinOrder, plane: PlaneOf, actor: Actor) -> DeviceView:
    """Keep a device on one listed release, whatever rollouts say."""
    with plane.database.begin() as session:
        row = operators.find(session, key)
        operators.pin(plane, session, row, order, actor)
        return operators.device_view(row)


@router.post("/tokens")
def create_token(order: TokenOrder, plane: PlaneOf, actor: Actor) -> TokenView:
    """A one-time enrolment token; it is shown this once."""
    with plane.database.begin() as session:
        return operators.create_token(session, order, actor, plane.clock.now())


@router.get("/rollouts")
def rollouts(plane: PlaneOf, _actor: Actor) -> list[RolloutView]:
    """Every rollout without its jobs, oldest first."""
    with plane.database.read() as session:
        return overview.views(session)


@router.post("/rollouts")
def create_rollout(order: RolloutOrder, plane: PlaneOf, actor: Actor) -> RolloutView:
    """Bring a listed release to devices by its signed plan; started unless a draft is asked for."""
    with plane.database.begin() as session:
        return overview.view(session, conduct.create(plane, session, order, actor))


@router.get("/rollouts/{number}")
def rollout(number: Number, plane: PlaneOf, _actor: Actor) -> RolloutView:
    """One rollout with every job."""
    with plane.database.read() as session:
        return overview.view(session, conduct.find(session, number))


@router.post("/rollouts/{number}/rollback")
def roll_back(number: Number, order: RollbackOrder, plane: PlaneOf, actor: Actor) -> RolloutView:
    """Bring devices back to a listed release by hand; answers with the rollout that does it."""
    with plane.database.begin() as session:
        row = conduct.find(session, number)
        return overview.view(session, conduct.roll_back(plane, session, row, order, actor))


@router.post("/rollouts/{number}/stop")
def stop(number: Number, plane: PlaneOf, actor: Actor, reason: Reason = "") -> RolloutView:
    """End a rollout early: queued jobs are removed, offered ones go on to their end. Final."""
    with plane.database.begin() as session:
        row = conduct.find(session, number)
        conduct.stop(session, row, actor, plane.clock.now(), reason)
        return overview.view(session, row)


@router.post("/rollouts/{number}/start")
def start(number: Number, plane: PlaneOf, actor: Actor) -> RolloutView:
    """Start a draft."""
    return _verb(Verb.START, number, plane, actor)


@router.post("/rollouts/{number}/pause")
def pause(number: Number, plane: PlaneOf, actor: Actor) -> RolloutView:
    """Offer nothing new until it is resumed."""
    return _verb(Verb.PAUSE, number, plane, actor)


@router.post("/rollouts/{number}/resume")
def resume(number: Number, plane: PlaneOf, actor: Actor) -> RolloutView:
    """Go on after a pause."""
    return _verb(Verb.RESUME, number, plane, actor)


def _verb(verb: Verb, number: int, plane: Plane, actor: str) -> RolloutView:
    with plane.database.begin() as session:
        row = conduct.find(session, number)
        VERBS[verb](session, row, actor, plane.clock.now())
        return overview.view(session, row)


@router.get("/windows")
def windows(
    plane: PlaneOf,
    _actor: Actor,
    select: str = "all",
    bundle: str = "",
    since: After = 0,
    limit: Limit = 500,
) -> list[WindowView]:
    """Stored windows of the selected devices, oldest first."""
    with plane.database.read() as session:
        return signals.windows(session, select_text=select, bundle=bundle, since=since, limit=limit)


@router.get("/sample-requests")
def sample_requests(plane: PlaneOf, _actor: Actor) -> list[SampleRequestView]:
    """Every request for samples, oldest first."""
    with plane.database.read() as session:
        return signals.requests(session)


@router.post("/sample-requests")
def request_samples(order: SampleOrder, plane: PlaneOf, actor: Actor) -> SampleRequestView:
    """Ask the opted-in devices of a selector for samples."""
    with plane.database.begin() as session:
        return signals.request_samples(session, order, actor, plane.clock.now())


@router.post("/sample-requests/{number}/close")
def close_samples(number: Number, plane: PlaneOf, actor: Actor) -> SampleRequestView:
    """Take no more samples for a request."""
    with plane.database.begin() as session:
        row = signals.find_request(session, number)
        signals.close_request(session, row, actor, plane.clock.now())
        return signals.request_view(session, row)


@router.get("/samples")
def samples(
    plane: PlaneOf, _actor: Actor, request: RequestNumber, since: After = 0, limit: Limit = 500
) -> list[SampleView]:
    """The samples of a request, in the order in which they came."""
    with plane.database.read() as session:
        signals.find_request(session, request)
        return signals.samples(session, request=request, since=since, limit=limit)


@router.get("/audit")
def audit_lines(
    plane: PlaneOf,
    _actor: Actor,
    after: After = 0,
    limit: Limit = 1000,
    last: Last | None = None,
) -> list[AuditLine]:
    """The append-only log, oldest first; with ``last`` its end, whatever ``limit`` says."""
    with plane.database.read() as session:
        if last is not None:
            return audit.newest(session, after=after, last=last)
        return audit.lines(session, after=after, limit=limit)


@router.post("/audit")
def note(message: Note, plane: PlaneOf, actor: Actor) -> AuditLine:
    """Record an alarm or a fired trigger (``trigger.*`` alone)."""
    with plane.database.begin() as session:
        now = plane.clock.now()
        return audit.write(session, now, actor, message.action, message.subject, message.detail)
