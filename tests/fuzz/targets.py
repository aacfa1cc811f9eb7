"""Every parser that sees bytes of a network or a disk, and good bytes to begin with.

A target takes bytes, and returns or raises what it declares: an error of ours, where nothing else
is said. Anything else is a finding.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pydantic import ValidationError
from tests.delta import tiny_models
from tests.hostile import test_parsers as good

from edgeloop import arrayfiles
from edgeloop.agent import first_root, invitation, oip, settings
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.slots import Slots
from edgeloop.agent.states import Ledger
from edgeloop.delta import containers, header
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.create import create_bytes
from edgeloop.errors import EdgeloopError, UnreachableError
from edgeloop.protocol import keys, messages, signatures
from edgeloop.release import seen
from edgeloop.release.bundle import Bundle, BundleInfo, layers_of, open_bundle
from edgeloop.release.client import Channel
from edgeloop.release.repository import Repository
from edgeloop.runtimes import gguf_header, onnx_header, tflite_header
from edgeloop.sketches.profile import Profile
from edgeloop.store.manifest import digest_of
from edgeloop.testing.clock import FakeClock
from edgeloop.types import TensorSpec

Try = Callable[[bytes], object]
MESSAGES = (
    messages.Enrol, messages.Report, messages.Windows, messages.Samples, messages.Desired,
    messages.ChannelList,
)  # fmt: skip
SIGNED_AT = 1_800_000_000.0
KEY = keys.generate()
SPECS = (
    TensorSpec(name="image", dtype="uint8", shape=(2, 2)),
    TensorSpec(name="word", dtype="str", shape=()),
    TensorSpec(name="when", dtype="datetime64[s]", shape=()),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """``read`` is tried; ``seeds`` are good inputs; ``declared`` is what it may raise."""

    read: Try
    seeds: tuple[bytes, ...]
    declared: tuple[type[Exception], ...] = (EdgeloopError,)

    def try_out(self, data: bytes) -> None:
        """Raise what is not declared."""
        with suppress(*self.declared):
            self.read(data)


def targets(folder: Path) -> dict[str, Target]:
    """All, by name; ``folder`` is theirs to write in."""
    return {
        **_of_releases(folder), **_of_devices(folder), **_of_the_wire(folder), **_of_deltas(),
    }  # fmt: skip


def _of_releases(folder: Path) -> dict[str, Target]:
    info = BundleInfo.model_validate(
        {**good.INFO.model_dump(), "declared": [{"profile": "c", "rows": 1, "disagreement": 0}]}
    )

    def bundle(name: str) -> Callable[[bytes], Bundle]:
        def of(data: bytes) -> Bundle:
            return Bundle(digest=good.DIGEST, info=info, files={name: _file(folder, data)})

        return of

    def described(data: bytes) -> object:
        path = _file(folder, data)
        return open_bundle(good.DIGEST, {"description.json": path, "golden.zip": path})

    golden, profile = bundle("golden.zip"), bundle("profile-0.json")
    return {
        "manifest": Target(read=lambda d: layers_of(d, digest_of(d)), seeds=(good.MANIFEST,)),
        "description": Target(read=described, seeds=(good.DESCRIPTION,)),
        "golden": Target(read=lambda d: golden(d).golden_samples(), seeds=(good.golden(),)),
        "profiles": Target(read=lambda d: profile(d).references(), seeds=(good.profile(),)),
        "onnx": Target(
            read=lambda d: onnx_header.check(d, "model.onnx"), seeds=(good.onnx_file(),)
        ),
        "tflite": Target(read=lambda d: tflite_header.read_header(d, "m.tflite"), seeds=_tflite()),
        "gguf": Target(
            read=lambda d: gguf_header.read_header(_file(folder, d), "m.gguf"), seeds=(good.WHOLE,)
        ),
    }


def _of_devices(folder: Path) -> dict[str, Target]:
    def in_place(name: str, read: Callable[[Path], object]) -> Try:
        def of(data: bytes) -> object:
            (folder / name).write_bytes(data)
            return read(folder)

        return of

    slots = json.dumps({"format": 1, "current": good.REF.model_dump()}).encode()
    progress = json.dumps(
        {"format": 1, "moves": 3, "state": "trying", "trying": good.REF.model_dump(), "attempts": 1}
    ).encode()
    told = b'{"server": "http://a", "device": "d", "name": "n", "model": "m", "target": "t"}'
    known = b'{"format": 1, "root": 2, "keys": ["a"], "versions": {"targets": 3}}'
    return {
        "slots": Target(read=in_place("slots.json", Slots), seeds=(slots,)),
        "progress": Target(read=lambda d: Ledger(_file(folder, d)), seeds=(progress,)),
        "settings": Target(read=in_place("agent.json", settings.read), seeds=(told,)),
        "seen": Target(read=lambda d: seen.load(_file(folder, d)), seeds=(known,), declared=()),
        "invitation": Target(
            read=lambda d: invitation.read(_file(folder, d)),
            seeds=(b'{"server":"http://a","token":"t","model":"m","channel":"s","root":"{}"}',),
        ),
    }


def _of_the_wire(folder: Path) -> dict[str, Target]:
    sketches = Profile.from_json
    columns = {"image": np.zeros((1, 2), np.uint8), "word": arrayfiles.as_texts([["a"]])}
    rows = json.dumps(arrayfiles.encoded(columns)).encode()
    inputs = [
        {"name": "image", "shape": [1, 2, 2], "datatype": "UINT8", "data": [1, 2, 3, 4]},
        {"name": "word", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        {"name": "when", "shape": [1], "datatype": "BYTES", "data": ["2026-11-21T00:00:00Z"]},
    ]
    return {
        "messages": Target(read=_message, seeds=_messages(), declared=(ValidationError,)),
        "signatures": Target(read=_signature, seeds=(_signed(),)),
        "sketches": Target(read=lambda d: _each(sketches, d), seeds=(good.profile(),)),
        "rows": Target(
            read=lambda d: _each(arrayfiles.decoded, d), seeds=(rows,),
            declared=(ValueError, EOFError),
        ),
        "oip": Target(read=_oip, seeds=(json.dumps({"inputs": inputs}).encode(),)),
        **_metadata(folder),
    }  # fmt: skip


def _metadata(folder: Path) -> dict[str, Target]:
    """What a repository answers, through the client of a device: the first byte says which file."""
    clock = FakeClock()
    repository = Repository(folder / "repository", folder / "keys", clock)
    repository.create(("stable",))
    root, place = repository.root(), folder / "device"
    names = sorted(path.name for path in (repository.folder / "metadata").iterdir())

    def read(data: bytes) -> object:
        wrong, said = names[data[0] % len(names)] if data else "", data[1:]

        def fetch(url: str, most: int) -> Iterator[bytes]:
            name = url.rpartition("/")[2]
            path = repository.folder / "metadata" / name
            if name != wrong and not path.is_file():
                raise UnreachableError(url, "must answer with 200", got=404)
            yield (said if name == wrong else path.read_bytes())[:most]

        shutil.rmtree(place, ignore_errors=True)
        where = ("http://plane.test/metadata/", "http://plane.test/targets/")
        return Channel(place, root, fetch, *where, "sorter", "stable", clock=clock).refresh()

    seeds = [
        bytes([number]) + (repository.folder / "metadata" / name).read_bytes()
        for number, name in enumerate(names)
    ]
    return {
        "metadata": Target(read=read, seeds=tuple(seeds)),
        "first_root": Target(read=first_root.check, seeds=(root,)),
    }


def _of_deltas() -> dict[str, Target]:
    """Deltas behind their digest, which is mended here; and what deltas are made of."""
    old, deltas = _deltas()
    begin = len(header.MAGIC) + header.CHECKED

    def applied(data: bytes) -> object:
        digest = hashlib.sha256(data).digest()[: header.CHECKED]
        return apply_bytes([old], header.MAGIC + digest + data, most=1 << 16)

    return {
        "delta": Target(read=applied, seeds=tuple(one[begin:] for one in deltas)),
        "containers": Target(
            read=lambda d: containers.find(memoryview(d)), declared=(),
            seeds=(old, good.onnx_file(), good.WHOLE, *_tflite()),
        ),
    }  # fmt: skip


@cache
def _deltas() -> tuple[bytes, tuple[bytes, ...]]:
    """An old file, and deltas of it: of tensors of each kind, and of bytes alone."""
    chance = np.random.default_rng(8)
    levels, reals = chance.integers(-90, 90, (48, 48)), chance.normal(0, 1, (16, 16))
    files = []
    for moved in (0, 1):
        near = reals + moved * chance.normal(0, 1e-4, reals.shape)
        steps = levels + moved * (chance.random(levels.shape) < 0.05)
        model = {
            "levels": ("int8", levels.shape, steps.astype(np.int8).tobytes()),
            "levels_scale": ("float32", (48,), np.full(48, 0.1 + moved, np.float32).tobytes()),
            "reals": ("float32", reals.shape, near.astype(np.float32).tobytes()),
            "halves": ("float16", reals.shape, near.astype(np.float16).tobytes()),
        }
        files.append(tiny_models.safetensors(model))
    old, new = files
    others = (new, old[100:] + b"more", b"something else")
    return old, tuple(create_bytes([old], [other]).data for other in others)


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


def _tflite() -> tuple[bytes, ...]:
    place = good.importlib.util.find_spec("pymicro_wakeword")
    if place is None:
        return (b"\x1c\0\0\0TFL3",)
    models = Path(place.submodule_search_locations[0]) / "models"
    return ((models / "hey_mycroft.tflite").read_bytes(),)


def _messages() -> tuple[bytes, ...]:
    ref = good.REF.model_dump()
    window = {"id": "0" * 32, "bundle": good.DIGEST, "version": 1, "began": 1, "ended": 2}
    said: tuple[Any, ...] = (
        {"token": "t", "name": "n", "public_key": "k", "target": "t", "labels": {"a": "b"}},
        {"moves": 1, "state": "idle", "target": "t", "running": ref, "outcome": None},
        {"windows": [{**window, "answers": 3, "sketches": {"image.mean": "AAAA"}}]},
        {"request": 1, "samples": [{"answer": "a", "inputs": {"image": "AA"}, "truth": "x"}]},
        {"release": ref, "rollout": 1, "samples": {"id": 1, "count": 2}, "poll_seconds": 5},
        {
            "name": "n", "channel": "s", "floor": 1,
            "releases": [{"version": 1, "digest": good.DIGEST, "size": 1, "plan": {}}],
        },
    )  # fmt: skip
    return tuple(bytes([n]) + json.dumps(one).encode() for n, one in enumerate(said))


def _message(data: bytes) -> object:
    if not data:
        return None
    return MESSAGES[data[0] % len(MESSAGES)].model_validate_json(data[1:])


def _signed() -> bytes:
    headers = {"Edgeloop-Version": "1"}
    signed = signatures.sign(KEY, "d1", "GET", "http://a/b", headers, b"", SIGNED_AT)
    return "\n".join(f"{name}: {value}" for name, value in {**headers, **signed}.items()).encode()


def _signature(data: bytes) -> object:
    """Header lines, as a server's library would hand them over."""
    lines = (line.partition(": ") for line in data.decode("latin-1").split("\n"))
    headers = {name: value for name, _, value in lines if name}
    signatures.key_id_of(headers)
    return signatures.verify(KEY.public_key(), "GET", "http://a/b", headers, b"", SIGNED_AT)


def _each(read: Callable[[dict[str, str]], object], data: bytes) -> object:
    """What takes a mapping of texts, as a validated message gives it."""
    try:
        told = json.load(io.BytesIO(data))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
        return None
    return read(told)


def _oip(data: bytes) -> object:
    """A request's body, whose JSON the endpoint has read."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    slot: Any = SimpleNamespace(inputs=SPECS, kind=SimpleNamespace(outputs=("label",)))
    return Loaded.feed(slot, oip._inputs(slot, body))
