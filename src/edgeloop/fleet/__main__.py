"""The control plane's process: ``python -m edgeloop.fleet --folder F --port P``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from edgeloop.errors import EdgeloopError
from edgeloop.fleet.clients import Clients
from edgeloop.fleet.server import serve
from edgeloop.fleet.settings import DATABASE_VARIABLE, Settings, Tls


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; the exit status is the error's."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = Settings(
        folder=given.folder,
        repository=given.repository or given.folder / "repository",
        layout=given.layout or given.folder / "layout",
        database=given.database,
        host=given.host,
        port=given.port,
        tls=_tls(given),
        poll_seconds=given.poll_seconds,
        tick_seconds=given.tick_seconds,
    )
    try:
        serve(settings, until_stdin_closes=given.until_stdin_closes)
    except EdgeloopError as error:
        print(error, file=sys.stderr)  # noqa: T201  (a program's last word)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgeloop.fleet", description="The control plane.")
    parser.add_argument("--folder", type=Path, required=True, help="database, token, logs")
    parser.add_argument("--repository", type=Path, help="TUF repository (<folder>/repository)")
    parser.add_argument("--layout", type=Path, help="OCI layout (<folder>/layout)")
    parser.add_argument(
        "--database",
        default=os.environ.get(DATABASE_VARIABLE, ""),
        help=f"SQLAlchemy URL (${DATABASE_VARIABLE}, or SQLite in the folder)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=0, help="port; 0 takes a free one (0)")
    parser.add_argument("--tls", action="store_true", help="serve https, not http")
    parser.add_argument("--tls-cert", type=Path, help="chain in PEM (one of its own authority)")
    parser.add_argument("--tls-key", type=Path, help="its private key (in the same file)")
    parser.add_argument("--tls-name", action="append", default=[], help="name in the certificate")
    parser.add_argument(
        "--client-certificates", type=Clients, choices=list(Clients), default=Clients.OFF,
        help="that devices show (off)",
    )  # fmt: skip
    parser.add_argument("--poll-seconds", type=_poll, default=5.0, help="for devices (5)")
    parser.add_argument("--tick-seconds", type=_tick, default=1.0, help="between ticks (1)")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when stdin reaches its end"
    )
    return parser


def _tls(given: argparse.Namespace) -> Tls | None:
    wanted = given.tls or given.tls_cert
    names = tuple(given.tls_name)
    if not wanted:
        return None
    clients = given.client_certificates
    return Tls(cert=given.tls_cert, key=given.tls_key, names=names, clients=clients)


def _port(text: str) -> int:
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return int(text)


def _poll(text: str) -> float:
    if not 0.1 <= float(text) <= 3600:  # as the protocol has it
        raise argparse.ArgumentTypeError("must be 0.1 to 3600 seconds")
    return float(text)


def _tick(text: str) -> float:
    if not 0.001 <= float(text) <= 60:
        raise argparse.ArgumentTypeError("must be 0.001 to 60 seconds")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
