"""What an update from each release takes: of the files as they are on devices."""

import numpy as np
import pytest

from edgeloop.checks.update_bytes import UpdateBytes
from edgeloop.errors import MissingExtraError
from edgeloop.types import AnswerSpec, Model, Verdict

GENERATOR = np.random.default_rng(3)
CONTENT = GENERATOR.integers(0, 256, 4000, dtype=np.uint8).tobytes()
OTHER = GENERATOR.integers(0, 256, 4000, dtype=np.uint8).tobytes()


@pytest.fixture
def model(tmp_path):
    def new(name: str, content: bytes) -> Model:
        path = tmp_path / name
        path.write_bytes(content)
        answer = AnswerSpec(kind="label", params={"classes": ["low", "high"]})
        return Model(format="onnx", answer=answer, inputs=(), files={"model.onnx": path})

    return new


def test_each_release_has_its_figure_and_none_is_more_than_the_files(model, workplace):
    near, far = model("near", CONTENT[:2000] + b"!" + CONTENT[2001:]), model("far", OTHER)
    context = workplace(current=near, earlier={"sha256:far": far})
    found = UpdateBytes().run(model("new", CONTENT), context)
    assert found.verdict is Verdict.PASS
    assert found.value == found.evidence["current"] < 300
    assert found.evidence["earlier"] == {"sha256:far": 4000}
    assert found.evidence["whole"] == 4000


def test_more_bytes_than_the_limit_fail(model, workplace):
    context = workplace(current=model("far", OTHER))
    found = UpdateBytes(max="<= 3 kB").run(model("new", CONTENT), context)
    assert (found.verdict, found.value, found.limit) == (Verdict.FAIL, 4000.0, "<= 3000 bytes")


def test_a_first_release_has_none_to_come_from_and_passes(model, workplace):
    found = UpdateBytes(max=1).run(model("new", CONTENT), workplace())
    assert (found.verdict, found.value) == (Verdict.PASS, None)
    assert found.reason == "first release on this channel: no device has one to update from"


def test_without_the_codec_s_libraries_nothing_was_measured(model, workplace, monkeypatch):
    def absent(*_: object) -> None:
        raise MissingExtraError("bsdiff4", "must be installed")

    monkeypatch.setattr("edgeloop.delta.create.create_bytes", absent)
    found = UpdateBytes().run(model("new", CONTENT), workplace(current=model("far", OTHER)))
    assert (found.verdict, found.value) == (Verdict.NOT_MEASURED, None)
    assert found.reason == "[E701] bsdiff4 must be installed"
