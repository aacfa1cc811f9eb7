"""Applications of this machine ask over a socket in its file system."""

from __future__ import annotations

import json
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
from edgeloop.agent.unix_socket import path_of
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


@pytest.mark.parametrize("listen", ["unix:agent.sock", "unix:", f"unix:/{'x' * 103}"])
def test_a_path_that_no_socket_can_have_is_named(listen: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        path_of(listen)
    assert str(caught.value) == (
        f"[E606] listen address {listen!r} must be unix: and a path from / on, of at most 103 "
        "bytes. Choose a shorter one, such as unix:/run/edgeloop/agent.sock"
    )
    assert path_of("127.0.0.1:0") is None
