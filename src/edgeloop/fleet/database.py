"""Opens the control plane's database and brings its tables up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

from edgeloop.errors import DatabaseError, MissingExtraError, OverrideError, UnreachableError

BUSY_SECONDS = 15  # how long a writer waits for another one
WRITER = 0x65646765  # PostgreSQL's number of our write lock: any, the same in every process
DRIVERS = ("sqlite", "postgresql+psycopg")
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # what was acknowledged survives a power cut
    "PRAGMA foreign_keys=ON",
)
_ONE_VIEW = {"isolation_level": "REPEATABLE READ"}  # as SQLite's readers see it


class Database:
    """Sessions of one database: SQLite for one machine, PostgreSQL by URL.

    Raises:
        UnreachableError: it does not answer.
        DatabaseError: it is damaged, or by a newer edgeloop.
        OverrideError: the URL is none.
        MissingExtraError: the URL asks for a driver that is not installed.
    """

    def __init__(self, url: str) -> None:
        parsed = _url(url)
        with _told(parsed):
            self._engine = _opened(parsed)
        reading = {"reading": True} | ({} if _is_sqlite(parsed) else _ONE_VIEW)
        self._write = sessionmaker(self._engine)
        self._read = sessionmaker(self._engine.execution_options(**reading))

    def begin(self) -> Any:
        """A context manager: one session, one transaction that is committed at its end.

        It takes the write lock at once: one writer at a time reads and decides, on SQLite and on
        PostgreSQL, and none fails half-way on another one.
        """
        return self._write.begin()

    def read(self) -> Session:
        """A context manager: one session that reads and takes no lock."""
        return self._read()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _url(text: str) -> URL:
    rule = "must be a URL that begins with sqlite: or postgresql+psycopg:"
    try:
        url = make_url(text)
    except sqlalchemy.exc.ArgumentError as error:
        raise OverrideError("--database", rule) from error
    if url.drivername not in DRIVERS:
        raise OverrideError("--database", rule, got=url.drivername)
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _opened(url: URL) -> Engine:
    engine = _engine(url)
    with ExitStack() as on_failure:
        on_failure.callback(engine.dispose)
        migrate(engine)
        on_failure.pop_all()
    return engine


def _engine(url: URL) -> Engine:
    if not _is_sqlite(url):
        engine = create_engine(url, pool_pre_ping=True)  # a server may have restarted
        event.listen(engine, "begin", _one_writer)
        return engine
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin does
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if _reads(connection) else "BEGIN IMMEDIATE")


def _one_writer(connection: Connection) -> None:
    if not _reads(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")


def _reads(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("reading"))


def migrate(engine: Engine) -> None:
    """Run every migration that this database has not had yet, in one transaction.

    Raises:
        DatabaseError: it had one that is not known here.
    """
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine.begin() as connection:
        _refuse_newer(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_newer(connection: Connection, config: Config) -> None:
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    had = set(MigrationContext.configure(connection).get_current_heads())
    if had - known:
        raise DatabaseError(
            f"database {_name(connection.engine.url)}",
            f"must have a schema up to {scripts.get_current_head()}, the newest known here",
            got=", ".join(sorted(had)),
            todo="Start the edgeloop that wrote it, or a newer one; nothing was changed",
        )


@contextmanager
def _told(url: URL) -> Iterator[None]:
    """What a driver says of a database that cannot be opened, as errors of ours."""
    thing = f"database {_name(url)}"
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlite3.OperationalError) as error:
        todo = "Is its server running, and may this user open it?"
        raise UnreachableError(thing, "must open", got=said(error), todo=todo) from error
    except (sqlalchemy.exc.DatabaseError, sqlite3.DatabaseError) as error:
        todo = "Put a copy in its place, or move it away and enrol the devices again"
        raise DatabaseError(thing, "must be whole", got=said(error), todo=todo) from error
    except ModuleNotFoundError as error:
        todo = "pip install 'edgeloop[postgres]'"
        raise MissingExtraError(f"module {error.name}", "is not installed", todo=todo) from error


def said(error: BaseException) -> str:
    """The first line of what a driver said."""
    return (str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__])[0]


def _name(url: URL) -> str:
    return str(url.database) if _is_sqlite(url) else url.render_as_string(hide_password=True)
