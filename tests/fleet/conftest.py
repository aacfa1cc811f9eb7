"""The fixture that gives each test its own control plane, on SQLite or on a server's database."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet_bench import Bench
from sqlalchemy import create_engine, text

from edgeloop.testing.clock import FakeClock

VARIABLE = "EDGELOOP_TEST_DATABASE"  # a database of PostgreSQL that tests may make schemas in


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with own_database() as url:
        bench = Bench(tmp_path / "fleet", FakeClock(), url)
        yield bench
        bench.close()


@contextmanager
def own_database() -> Iterator[str]:
    """A URL with a schema of its own; empty, which means SQLite, where the variable is not set."""
    server = os.environ.get(VARIABLE, "")
    if not server:
        yield ""
        return
    schema, engine = f"test_{uuid.uuid4().hex}", create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{server}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()
