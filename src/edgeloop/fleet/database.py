"""Opens the control plane's database and brings its tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

BUSY_SECONDS = 15  # how long a writer waits for another one
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # what was acknowledged survives a power cut
    "PRAGMA foreign_keys=ON",
)


class Database:
    """Sessions of one database: SQLite for one machine, another server by URL.

    PostgreSQL is written for and not yet tested.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        migrate(self._engine)
        self._write = sessionmaker(self._engine)
        self._read = sessionmaker(self._engine.execution_options(reading=True))

    def begin(self) -> Any:
        """A context manager: one session, one transaction that is committed at its end.

        On SQLite it takes the write lock at once, so that it never fails half-way on another
        writer.
        """
        return self._write.begin()

    def read(self) -> Session:
        """A context manager: one session that reads and takes no lock."""
        return self._read()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin does
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(engine: Engine) -> None:
    """Run every migration that this database has not had yet, in one transaction."""
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
