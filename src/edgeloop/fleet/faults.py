"""How an error of ours becomes an HTTP reply, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy.exc
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edgeloop import errors
from edgeloop.errors import EdgeloopError, NotFoundError, ProtocolError, UnreachableError
from edgeloop.fleet.database import said
from edgeloop.types import Json

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

STATUS: dict[type[EdgeloopError], int] = {
    errors.InputError: 400,
    errors.ProtocolError: 400,
    errors.SignatureError: 401,
    errors.UnauthorizedError: 401,
    errors.NotFoundError: 404,
    errors.ArtifactMissingError: 404,
    errors.ConflictError: 409,
    errors.TrustError: 409,
    errors.UnreachableError: 502,
    errors.DiskFullError: 507,
    EdgeloopError: 500,
}


def status_of(error: EdgeloopError) -> int:
    """The status of the nearest class in :data:`STATUS`."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body_of(error: EdgeloopError) -> Json:
    """What a client reads: number and message, with the parts that the message is made of."""
    return {
        "error": {
            "number": error.number,
            "message": str(error),
            "thing": error.thing,
            "rule": error.rule,
            "got": None if error.got is None else str(error.got),
            "todo": error.todo,
        }
    }


def install(app: FastAPI) -> None:
    """Answer with our errors: ours, a misfit message, a path that is not there, the database's."""
    app.add_exception_handler(EdgeloopError, _ours)
    app.add_exception_handler(RequestValidationError, _does_not_fit)
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(sqlalchemy.exc.DataError, _not_kept)
    app.add_exception_handler(sqlalchemy.exc.OperationalError, _no_database)


def _reply(error: EdgeloopError, status: int | None = None) -> JSONResponse:
    return JSONResponse(body_of(error), status_code=status or status_of(error))


def _ours(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, EdgeloopError):
        raise error
    return _reply(error)


def _does_not_fit(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = "; ".join(_fault(fault) for fault in error.errors()[:5])
    return _reply(
        ProtocolError(
            f"message of {request.method} {request.url.path}", "must fit its schema", got=faults
        )
    )


def _fault(fault: Json) -> str:
    place = ".".join(str(part) for part in fault["loc"][1:])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def _other(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    thing = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        return _reply(NotFoundError(thing, "must be a path that is served"), 404)
    return _reply(ProtocolError(thing, "is not served", got=error.detail), error.status_code)


def _not_kept(request: Request, error: Exception) -> JSONResponse:
    thing = f"message of {request.method} {request.url.path}"
    return _reply(ProtocolError(thing, "must be what the database can keep", got=said(error)))


def _no_database(_request: Request, error: Exception) -> JSONResponse:
    rule, todo = "must answer", "Is its server running, and is there room on its disk?"
    return _reply(UnreachableError("control plane's database", rule, got=said(error), todo=todo))
