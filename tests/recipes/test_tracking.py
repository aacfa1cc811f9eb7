"""What a training tells MLflow can be read there; a tracker that fails says so."""

import pytest

from edgeloop.errors import TrackingError
from edgeloop.recipes.tracking import MlflowTracker


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
