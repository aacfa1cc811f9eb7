"""What a device is told of its control plane before it asks for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.fleet.client import FleetClient
    from edgeloop.fleet.views import TokenView


def about(client: FleetClient, loop: Path, server: str) -> dict[str, str]:
    """Address, authority, model and first root metadata; ``server`` where devices ask another."""
    from edgeloop.loop.file import load_loop
    from edgeloop.release.repository import Repository

    checked = load_loop(loop)
    release = checked.settings.release
    repository = Repository(checked.path(release.repository), checked.path(release.keys))
    ca = client.ca.read_text() if client.ca else ""
    root = repository.root().decode()
    return {"server": server or client.url, "model": checked.name, "root": root, "ca": ca}


def write(
    told: dict[str, str], token: TokenView, model: str | None, channel: str, to: Path
) -> None:
    """An invitation: all of it with a token, in a file that is a secret."""
    from edgeloop.agent.invitation import Invitation
    from edgeloop.agent.invitation import write as write_file

    told |= {"model": model} if model else {}
    write_file(Invitation(token=token.token, channel=channel, **told), to)
