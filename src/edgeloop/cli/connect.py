"""Which control plane a command talks to: a folder on this machine, or a URL and a token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeloop.fleet.client import FleetClient

TOKEN_VARIABLE = "EDGELOOP_TOKEN"  # noqa: S105  (the name of a variable)
CA_VARIABLE = "EDGELOOP_CA"
FleetOption = Annotated[
    str,
    typer.Option(
        "--fleet",
        envvar="EDGELOOP_FLEET",
        help="Folder of a control plane on this machine, or its URL"
        f" (token in {TOKEN_VARIABLE}, file of its authority in {CA_VARIABLE}).",
    ),
]
FLEET = "fleet"


def connect(fleet: str) -> FleetClient:
    """The control plane that ``--fleet`` names.

    Raises:
        UnreachableError: nothing runs in that folder.
        UnauthorizedError: a URL without a token.
        CertificateError: the file of its authority cannot be used.
    """
    from edgeloop.errors import UnauthorizedError
    from edgeloop.fleet.client import FleetClient

    if not fleet.startswith(("http://", "https://")):
        return FleetClient.of_folder(Path(fleet))
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise UnauthorizedError(
            f"control plane {fleet}", "needs a token", todo=f"Set {TOKEN_VARIABLE}"
        )
    if not (token.isascii() and token.isprintable()):  # it goes into a header
        raise UnauthorizedError(
            TOKEN_VARIABLE, "must be printable ASCII", todo="Copy it from operator.token again"
        )
    ca = os.environ.get(CA_VARIABLE, "")
    return FleetClient(fleet, token, ca=_certificates(Path(ca)) if ca else None)


def _certificates(file: Path) -> Path:
    from edgeloop.agent.wire import certificates

    certificates(file)
    return file
