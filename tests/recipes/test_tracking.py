"""What a training tells MLflow can be read there; a tracker that fails says so."""

import os
import socket

import pytest

from edgeloop.errors import TrackingError
from edgeloop.recipes.tracking import PATIENCE, MlflowTracker


def test_parameters_and_curves_can_be_read_back(tmp_path):
    from mlflow import MlflowClient

    tracker = MlflowTracker.in_file(tmp_path / "runs.db", "sorter")
    with tracker.run("image_classifier") as run:
        run.params({"width": 8, "augment": {"turn": 3.0}})
        for step, loss in enumerate((0.5, 0.25)):
            run.metrics({"train_loss": loss}, step)
    client = MlflowClient(tracking_uri=tracker.uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("sorter").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"width": "8", "augment.turn": "3.0"}
    points = client.get_metric_history(kept.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(0, 0.5), (1, 0.25)]


def test_a_training_that_raises_is_a_failed_run(tmp_path):
    from mlflow import MlflowClient

    tracker = MlflowTracker.in_file(tmp_path / "runs.db", "sorter")
    with pytest.raises(ZeroDivisionError), tracker.run("image_classifier"):
        raise ZeroDivisionError
    client = MlflowClient(tracking_uri=tracker.uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("sorter").experiment_id])
    assert kept.info.status == "FAILED"


def test_a_tracker_that_cannot_be_written_is_named_without_its_password():
    tracker = MlflowTracker(uri="nowhere://user:secret@host/runs", experiment="sorter")
    with pytest.raises(TrackingError) as caught, tracker.run("image_classifier"):
        pass
    text = str(caught.value)
    assert text.startswith("[E702] experiment tracker nowhere://host/runs must take the run, got ")
    assert text.endswith(
        ". Set track: in the loop file to an address that can be reached and written"
    )


def test_a_full_disk_under_the_file_is_told_with_what_to_do(tmp_path, monkeypatch):
    from mlflow import MlflowClient
    from sqlalchemy.exc import OperationalError

    def full(*_args):
        raise OperationalError("ALTER TABLE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", full)
    tracker = MlflowTracker.in_file(tmp_path / "runs.db", "sorter")
    with pytest.raises(TrackingError) as caught, tracker.run("image_classifier"):
        pass
    assert str(caught.value) == (
        f"[E702] experiment tracker sqlite:///{tmp_path / 'runs.db'} must take the run,"
        " got (builtins.Exception) database or disk is full."
        " Free space on the disk of that file; what was done before is kept"
    )


@pytest.fixture
def silent_server():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


def test_a_server_that_is_down_is_asked_three_times_and_the_environment_is_as_before(
    silent_server, monkeypatch
):
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    before = dict(os.environ)
    port = silent_server.getsockname()[1]
    tracker = MlflowTracker(uri=f"http://127.0.0.1:{port}", experiment="sorter")
    with pytest.raises(TrackingError) as caught, tracker.run("image_classifier"):
        pass
    assert str(caught.value).startswith(
        f"[E702] experiment tracker http://127.0.0.1:{port} must take the run, got API request to "
    )
    assert asked(silent_server) == 3
    assert dict(os.environ) == before


def asked(listener) -> int:
    """How often somebody connected."""
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_retries_that_the_user_has_set_stay(silent_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    port = silent_server.getsockname()[1]
    tracker = MlflowTracker(uri=f"http://127.0.0.1:{port}", experiment="sorter")
    with pytest.raises(TrackingError), tracker.run("image_classifier"):
        pass
    assert asked(silent_server) == 1
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
