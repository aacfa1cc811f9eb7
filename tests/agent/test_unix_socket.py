"""Applications of this machine ask over a socket in its file system."""

from __future__ import annotations

import grp
import json
import os
import socket
import stat
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.agent.test_endpoint import tensor
from tests.agent.test_update import installed
from tests.agent.world import World

from edgeloop.agent.endpoint import serving
from edgeloop.agent.unix_socket import place_of
from edgeloop.errors import PortInUseError, ProtocolError


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory() as folder:  # pytest's own is too deep for a socket
        yield Path(folder) / "agent.sock"


class Asking(HTTPConnection):
    """HTTP over a path, as ``curl --unix-socket`` does it."""

    def __init__(self, path: Path) -> None:
        super().__init__("agent")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self.path))


def ask(path: Path, method: str, where: str, body: Any = None) -> tuple[int, Any]:
    connection = Asking(path)
    head = {"Content-Type": "application/json"} if body else {}
    connection.request(method, where, json.dumps(body) if body else None, head)
    reply = connection.getresponse()
    said = reply.read()
    connection.close()
    return reply.status, json.loads(said or b"null")


def test_an_application_asks_over_a_socket_that_is_its_owners_alone(
    world: World, path: Path
) -> None:
    installed(world)
    with serving(world.agent, f"unix:{path}") as address:
        assert address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert ask(path, "GET", "/v2/health/ready")[0] == 200
        status, said = ask(path, "POST", "/v2/models/sorter/infer", {"inputs": [tensor()]})
        assert (status, said["model_name"]) == (200, "sorter")
        assert ask(path, "GET", "/v2/no-such-path")[0] == 404
    assert not path.exists()


def test_what_a_killed_agent_left_is_replaced(world: World, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    assert path.is_socket()
    with serving(world.agent, f"unix:{path}"):
        assert ask(path, "GET", "/v2/health/live")[0] == 200


def test_a_socket_that_somebody_listens_on_is_left_alone(world: World, path: Path) -> None:
    with serving(world.agent, f"unix:{path}"):
        with pytest.raises(PortInUseError) as caught, serving(world.agent, f"unix:{path}"):
            pass
        assert ask(path, "GET", "/v2/health/live")[0] == 200
    assert str(caught.value) == (
        f"[E605] socket {path} must be free, got another program on it. Choose another path"
    )


def test_a_file_that_is_no_socket_is_left_alone(world: World, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(PortInUseError) as caught, serving(world.agent, f"unix:{path}"):
        pass
    assert path.read_text() == "mine"
    assert str(caught.value) == (
        f"[E605] socket {path} must be free, got a file that is no socket. Choose another path"
    )


def test_a_group_that_is_named_may_ask_as_well(world: World, path: Path) -> None:
    installed(world)
    other = next(entry for entry in grp.getgrall() if entry.gr_gid in mine() - {os.getegid()})
    with serving(world.agent, f"unix:{path}?group={other.gr_name}") as address:
        assert address == f"unix:{path}"
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, other.gr_gid)
        assert ask(path, "GET", "/v2/health/ready")[0] == 200
    assert not path.exists()


def mine() -> set[int]:
    """The groups that a socket can be given to."""
    if os.geteuid() == 0:
        return {entry.gr_gid for entry in grp.getgrall()}
    if len(groups := set(os.getgroups())) < 2:
        pytest.skip("this user is in one group alone")
    return groups


def test_a_group_that_there_is_not_is_named_and_nothing_is_left(world: World, path: Path) -> None:
    with pytest.raises(ProtocolError) as caught, serving(world.agent, f"unix:{path}?group=nobody!"):
        pass
    assert str(caught.value) == (
        "[E606] group 'nobody!' must be one of this system that the agent's user is in, got no"
        " such group"
    )
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "listen",
    ["unix:agent.sock", "unix:", f"unix:/{'x' * 103}", "unix:/a?mode=0666", "unix:/a?group="],
)
def test_a_path_that_no_socket_can_have_is_named(listen: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        place_of(listen)
    assert str(caught.value) == (
        f"[E606] listen address {listen!r} must be unix: and a path from / on, of at most 103 "
        "bytes without ?, and ?group= with a group if one may ask. Choose a shorter one, "
        "such as unix:/run/edgeloop/agent.sock"
    )
    assert place_of("127.0.0.1:0") is None
