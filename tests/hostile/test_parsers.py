"""Whatever bytes come from the network or the disk: a parser returns, or raises one of our errors.

Each is fed wild bytes, and a good file with bytes changed, cut out, doubled or cut off.
"""

import importlib.util
import io
import json
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.runtimes.test_gguf_header import WHOLE

from edgeloop import arrayfiles
from edgeloop.agent import first_root
from edgeloop.agent import settings as agent_settings
from edgeloop.agent.slots import Slots
from edgeloop.agent.states import Ledger
from edgeloop.errors import EdgeloopError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release import seen
from edgeloop.release.bundle import Bundle, BundleInfo, Golden, layers_of, open_bundle
from edgeloop.release.repository import Repository
from edgeloop.runtimes import gguf_header, onnx_header, tflite_header
from edgeloop.sketches.profile import Profile
from edgeloop.store.manifest import DESCRIPTION_TYPE, TITLE, digest_of

BOUNDED = settings(
    max_examples=200,
    deadline=10_000,  # milliseconds, on a busy machine; what does not end is what is looked for
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DIGEST = "sha256:" + "0" * 64
REF = ReleaseRef(name="sorter", channel="stable", version=1, digest=DIGEST)
INFO = BundleInfo(name="sorter", runtime="onnx", golden=Golden(rows=1, tolerance={}), model={})


def descriptor(name, kind="application/octet-stream"):
    return {"mediaType": kind, "digest": DIGEST, "size": 3, "annotations": {TITLE: name}}


DEEP = b"[" * 100_000  # deeper than Python's stack
WILD = (DEEP, b'{"a":' * 100_000, b"", b"null", b"[[]]", b'{"config": {"size": Infinity}}')
MANIFEST = json.dumps(
    {
        "config": descriptor(""),
        "layers": [descriptor("model.onnx"), descriptor("description.json", DESCRIPTION_TYPE)],
    }
).encode()
DESCRIPTION = json.dumps({"meta": INFO.model_dump(mode="json")}).encode()


@st.composite
def mangled(draw, good):
    """``good`` with a few things done to it, or bytes that never were good."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.binary(max_size=300), st.sampled_from(WILD)))
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        place, many = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 16))
        what = draw(st.sampled_from(["bit", "wild", "cut", "double", "end"]))
        if what == "bit":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "wild":
            data[place : place + many] = draw(st.binary(min_size=1, max_size=16))
        elif what == "cut":
            del data[place : place + many]
        elif what == "double":
            data[place:place] = data[place : place + many]
        else:
            del data[place:]
    return bytes(data)


def try_to(read, *given):
    """Return when it returns, or raises an error of ours; any other fails the test."""
    with suppress(EdgeloopError):
        read(*given)


def golden():
    columns = {"in.image": np.zeros((2, 3), np.uint8), "out.word": arrayfiles.as_texts(["a", "b"])}
    with tempfile.TemporaryDirectory() as folder:
        return arrayfiles.pack(columns, Path(folder) / "golden.zip").read_bytes()


def npy(shape):
    """A file that says it is larger than any memory."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode()
    return b"\x93NUMPY\x01\x00" + len(head + b"\n").to_bytes(2, "little") + head + b"\n1234"


def in_a_zip(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("in.image.json", content)
    return stream.getvalue()


def profile():
    made = Profile()
    made.update({"image.mean": np.arange(50.0)})
    return json.dumps(made.to_json()).encode()


@BOUNDED
@given(data=mangled(MANIFEST))
@example(MANIFEST.replace(b": 3", b": Infinity"))
@example(DEEP)
def test_a_manifest(data):
    try_to(layers_of, data, digest_of(data))


@BOUNDED
@given(data=mangled(DESCRIPTION))
@example(DEEP)
def test_a_bundles_description(tmp_path, data):
    path = tmp_path / "description.json"
    path.write_bytes(data)
    files = {"description.json": path, "golden.zip": path}
    try_to(open_bundle, DIGEST, files)


@BOUNDED
@given(data=mangled(golden()))
@example(in_a_zip(DEEP))
@example(in_a_zip(npy("(1000000000000000,)")))
@example(in_a_zip(npy("(99999999999999999999999,)")))
@example(in_a_zip(b"[[[1], 2], 3]"))
def test_golden_samples(tmp_path, data):
    path = tmp_path / "golden.zip"
    path.write_bytes(data)
    bundle = Bundle(digest=DIGEST, info=INFO, files={"golden.zip": path})
    try_to(bundle.golden_samples)


@BOUNDED
@given(data=mangled(profile()))
def test_the_sketches_of_a_profile(tmp_path, data):
    path = tmp_path / "profile-0.json"
    path.write_bytes(data)
    declared = {"profile": "clean", "rows": 1, "disagreement": 0}
    info = BundleInfo.model_validate({**INFO.model_dump(), "declared": [declared]})
    try_to(Bundle(digest=DIGEST, info=info, files={path.name: path}).references)


@BOUNDED
@given(data=mangled(b'{"format": 1, "moves": 3, "state": "idle", "attempts": 0}'))
def test_the_progress_of_a_device(tmp_path, data):
    (tmp_path / "progress.json").write_bytes(data)
    try_to(Ledger, tmp_path / "progress.json")


@BOUNDED
@given(data=mangled(json.dumps({"format": 1, "current": REF.model_dump()}).encode()))
def test_the_slots_of_a_device(tmp_path, data):
    (tmp_path / "slots.json").write_bytes(data)
    try_to(Slots, tmp_path)


@BOUNDED
@given(data=mangled(b'{"server": "http://a", "device": "d", "name": "n", "model": "m"}'))
def test_the_settings_of_a_device(tmp_path, data):
    (tmp_path / "agent.json").write_bytes(data)
    try_to(agent_settings.read, tmp_path)


@BOUNDED
@given(data=mangled(b'{"format": 1, "root": 2, "keys": ["a"], "versions": {"targets": 3}}'))
def test_what_was_seen_of_a_repository(tmp_path, data):
    (tmp_path / "seen.json").write_bytes(data)
    assert seen.load(tmp_path / "seen.json").root >= 0


@BOUNDED
@given(data=mangled(WHOLE))
def test_a_gguf_header(tmp_path, data):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    try_to(gguf_header.read_header, path, "model.gguf")


def onnx_file():
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=1, dims=[2], raw_data=bytes(8))
    node = helper.make_node("Add", ["x", "w"], ["y"])
    body = helper.make_graph([node], "g", [], [], [tensor])
    return helper.make_model(body, ir_version=9).SerializeToString()


@BOUNDED
@given(data=mangled(onnx_file()))
def test_an_onnx_graph(data):
    try_to(onnx_header.check, data, "model.onnx")


@pytest.mark.skipif(
    importlib.util.find_spec("pymicro_wakeword") is None, reason="needs a TFLite file"
)
def test_a_tflite_header():
    place = Path(importlib.util.find_spec("pymicro_wakeword").submodule_search_locations[0])
    good = (place / "models" / "hey_mycroft.tflite").read_bytes()

    @BOUNDED
    @given(data=mangled(good))
    def fed(data):
        try_to(tflite_header.read_header, data, "model.tflite")

    fed()


def test_first_root_metadata(tmp_path):
    repository = Repository(tmp_path / "repository", tmp_path / "keys")
    repository.create(("stable",))

    @BOUNDED
    @given(data=mangled(repository.root()))
    def fed(data):
        try_to(first_root.check, data)

    fed()
