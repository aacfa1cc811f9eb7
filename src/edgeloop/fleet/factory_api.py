"""What operators ask of factories over HTTP. Each request bears an operator's token."""

from __future__ import annotations

from fastapi import APIRouter

from edgeloop.fleet import factories
from edgeloop.fleet.device_api import PlaneOf
from edgeloop.fleet.operator_api import Actor
from edgeloop.fleet.views import FactoryOrder, FactoryView, SerialsOrder

router = APIRouter(prefix="/v1", tags=["operators"])


@router.get("/factories")
def listed(plane: PlaneOf, _actor: Actor) -> list[FactoryView]:
    """Every factory whose devices may claim, by name."""
    with plane.database.read() as session:
        return factories.views(session)


@router.post("/factories")
def add(order: FactoryOrder, plane: PlaneOf, actor: Actor) -> FactoryView:
    """Let devices with a certificate under this authority claim a place."""
    with plane.database.begin() as session:
        return factories.view(session, factories.add(session, order, actor, plane.clock.now()))


@router.post("/factories/{key}/serials")
def list_serials(key: str, order: SerialsOrder, plane: PlaneOf, actor: Actor) -> FactoryView:
    """Serial numbers that may claim, with name and labels; those that are listed are told anew."""
    with plane.database.begin() as session:
        row = factories.find(session, key)
        factories.list_serials(session, row, order, actor, plane.clock.now())
        return factories.view(session, row)


@router.post("/factories/{key}/revoke")
def revoke(key: str, plane: PlaneOf, actor: Actor) -> FactoryView:
    """Let no further device of this factory claim; those that did stay."""
    with plane.database.begin() as session:
        row = factories.find(session, key)
        factories.revoke(session, row, actor, plane.clock.now())
        return factories.view(session, row)
