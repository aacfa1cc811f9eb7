"""What devices ask over HTTP. Each request is signed, and acts for the device that signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.routing import APIRoute

from edgeloop.fleet import claims, devices, enrolment, peers, rotation, signals
from edgeloop.fleet.calls import Call, by_device, claimed, identify
from edgeloop.fleet.plane import Plane
from edgeloop.fleet.views import Received
from edgeloop.protocol.messages import (
    Certificate,
    CertificateRequest,
    Claim,
    Claimed,
    Desired,
    Enrol,
    Enrolled,
    Report,
    Rotate,
    Rotated,
    Samples,
    Windows,
)
from edgeloop.protocol.signatures import Signed

NOT_MODIFIED = 304


async def the_plane(request: Request) -> Plane:
    """The control plane of this application; async, since it need not go to a thread."""
    plane: Plane = request.app.state.plane
    return plane


async def the_call(request: Request) -> Call:
    """The request as it was signed: the path as it came over the wire, not decoded."""
    scope = request.scope
    query = scope["query_string"].decode("latin-1")
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    return Call(
        method=request.method,
        url=f"http://control-plane{path}" + (f"?{query}" if query else ""),
        headers=dict(request.headers),
        body=await request.body(),
    )


class SignedRoute(APIRoute):
    """A route for known devices: a stranger's body is not read, and an unsigned one not parsed."""

    shows: ClassVar = True  # whether the connection must show what connections of devices must

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the check of who is calling."""
        handle = super().get_route_handler()

        async def handle_signed(request: Request) -> Response:
            plane = await the_plane(request)
            device = await run_sync(claimed, plane, dict(request.headers))
            if self.shows:
                peers.check(plane, request.scope, device.id)
            request.state.signed = await run_sync(identify, plane, await the_call(request))
            return await handle(request)

        return handle_signed


class FirstRoute(SignedRoute):
    """The same for a device that has nothing to show yet."""

    shows: ClassVar = False


async def the_signed(request: Request) -> Signed:
    """Who signed this request, as its route found out."""
    signed: Signed = request.state.signed
    return signed


router = APIRouter(prefix="/v1", tags=["devices"])
signed_router = APIRouter(prefix="/v1", tags=["devices"], route_class=SignedRoute)
first_router = APIRouter(prefix="/v1", tags=["devices"], route_class=FirstRoute)
PlaneOf = Annotated[Plane, Depends(the_plane)]
CallOf = Annotated[Call, Depends(the_call)]
SignedOf = Annotated[Signed, Depends(the_signed)]


@router.post("/enrol")
def enrol(message: Enrol, call: CallOf, plane: PlaneOf) -> Enrolled:
    """A one-time token makes a public key a device. Signed by the key in the body."""
    return enrolment.enrol(plane, call, message)


@router.post("/claim")
def claim(message: Claim, call: CallOf, plane: PlaneOf) -> Claimed:
    """A factory certificate makes a public key a device. Signed by the certificate's key."""
    return claims.claim(plane, call, message)


@signed_router.get("/desired", response_model=Desired, responses={NOT_MODIFIED: {}})
def desired(
    signed: SignedOf, plane: PlaneOf, if_none_match: Annotated[str, Header()] = ""
) -> Response:
    """What the device should be. With an ETag; 304 when nothing changed."""
    with by_device(plane, signed) as (session, device):
        body = devices.desired(plane, session, device).model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag in if_none_match:
        return Response(status_code=NOT_MODIFIED, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


@signed_router.post("/rotate")
def rotate(message: Rotate, signed: SignedOf, plane: PlaneOf) -> Rotated:
    """A further key for the device; from its first use on it is the only one."""
    with by_device(plane, signed) as (session, device):
        return rotation.rotate(session, device, message)


@first_router.post("/certificate")
def certificate(message: CertificateRequest, signed: SignedOf, plane: PlaneOf) -> Certificate:
    """A short-lived certificate for the device's connections."""
    with by_device(plane, signed) as (_session, device):
        return peers.give(plane, device.id, message)


@signed_router.post("/report")
def report(message: Report, signed: SignedOf, plane: PlaneOf) -> Received:
    """What the device says of itself."""
    with by_device(plane, signed) as (session, device):
        devices.report(plane, session, device, message, signed.created)
    return Received(accepted=(str(message.moves),))


@signed_router.post("/windows")
def windows(message: Windows, signed: SignedOf, plane: PlaneOf) -> Received:
    """Signals, window by window. Each is counted once by its id; all accepted may be forgotten."""
    with by_device(plane, signed) as (session, device):
        return signals.keep_windows(session, device, message, plane.clock.now())


@signed_router.post("/samples")
def samples(message: Samples, signed: SignedOf, plane: PlaneOf) -> Received:
    """Samples for a request. Each is counted once by its answer id, within the request's budget."""
    with by_device(plane, signed) as (session, device):
        return signals.keep_samples(session, device, message, plane.clock.now())
