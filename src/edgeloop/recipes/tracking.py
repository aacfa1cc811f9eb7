"""Send parameters and curves of a training to MLflow."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeloop.errors import MissingExtraError, TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.plugins import Run

logger = logging.getLogger(__name__)

LOGGERS = ("mlflow", "alembic")  # both announce every table that they make
PATIENCE = {  # MLflow's own settings are for hours of night jobs; these end within some 10 s
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
}
NEXT = "Set track: in the loop file to an address that can be reached and written"
FREE = "Free space on the disk of that file; what was done before is kept"


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """Runs of ``experiment`` at ``uri``: ``sqlite:///file.db``, ``https://server``."""

    uri: str
    experiment: str

    @classmethod
    def in_file(cls, path: Path, experiment: str) -> MlflowTracker:
        """A tracker whose runs lie in one SQLite file."""
        return cls(uri=f"sqlite:///{path.absolute()}", experiment=experiment)

    @contextmanager
    def run(self, name: str) -> Iterator[Run]:
        """One run, finished when the block ends, or failed when it raises.

        Raises:
            MissingExtraError: mlflow-skinny, or what it needs for SQLite, is not installed.
            TrackingError: the address cannot be reached or written; tried for some 10 s, or as
                long as MLflow's own settings in the environment say.
        """
        with _quiet(), _impatient():
            client, number = self._started(name)
            status = "FAILED"
            try:
                yield _MlflowRun(client=client, number=number)
                status = "FINISHED"
            finally:
                with _converted(self.uri):
                    client.set_terminated(number, status=status)

    def _started(self, name: str) -> tuple[Any, str]:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingExtraError(
                "mlflow",
                "must be installed to track a training",
                todo="pip install 'edgeloop[train]'",
            ) from error
        with _converted(self.uri):
            client = MlflowClient(tracking_uri=self.uri)
            found = client.get_experiment_by_name(self.experiment)
            place = found.experiment_id if found else client.create_experiment(self.experiment)
            return client, client.create_run(place, run_name=name).info.run_id


@dataclass(frozen=True, kw_only=True)
class _MlflowRun:
    """One open run."""

    client: Any
    number: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters, nested ones with dots between names."""
        from mlflow.entities import Param

        with _converted(self.client.tracking_uri):
            flat = [Param(name, str(value)) for name, value in _flat(values)]
            self.client.log_batch(self.number, params=flat)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """One value for each curve."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _converted(self.client.tracking_uri):
            points = [Metric(name, value, now, step) for name, value in values.items()]
            self.client.log_batch(self.number, metrics=points)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


@contextmanager
def _converted(uri: str) -> Iterator[None]:
    """What MLflow raises as one of ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except ImportError as error:  # MLflow imports its database libraries when it opens one
        raise MissingExtraError(
            f"MLflow at {uri.partition(':')[0]}", "must have its libraries",
            got=str(error), todo="pip install 'edgeloop[train]'",
        ) from error  # fmt: skip
    except (MlflowException, OSError, *_database_faults()) as error:
        got = str(error).splitlines()[0]
        raise TrackingError(
            f"experiment tracker {_public(uri)}",
            "must take the run",
            got=got,
            todo=FREE if "disk is full" in got else NEXT,
        ) from error


def _database_faults() -> tuple[type[Exception], ...]:
    """What MLflow lets through when it makes its tables."""
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # a tracking server needs no database here
        return ()
    return (SQLAlchemyError,)


def _public(uri: str) -> str:
    """``uri`` without a password."""
    scheme, sign, rest = uri.partition("://")
    return f"{scheme}{sign}{rest.rpartition('@')[2]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's announcements and deprecations off; errors are raised."""
    before = [(one, one.level) for one in map(logging.getLogger, LOGGERS)]
    for one, _ in before:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in before:
            one.setLevel(level)


@contextmanager
def _impatient() -> Iterator[None]:
    """MLflow's retries short, where the environment does not say how long."""
    ours = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
