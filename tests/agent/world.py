"""A control plane, a signed repository and bundles, all in memory or in a test's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop import arrayfiles
from edgeloop.agent.agent import Agent
from edgeloop.agent.transport import Reply, bounded
from edgeloop.errors import UnreachableError
from edgeloop.plugins import get
from edgeloop.protocol.messages import (
    Desired,
    Probation,
    ReleaseRef,
    RolloutPlan,
    SampleRequest,
    Windows,
)
from edgeloop.release import deltas
from edgeloop.release.bundle import BundleDraft, BundleInfo, DeclaredProfile, DeviceLimits, Golden
from edgeloop.release.repository import Repository
from edgeloop.sketches.features import summarise
from edgeloop.sketches.profile import Profile
from edgeloop.store.artifacts import Store
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet
from edgeloop.types import AnswerSpec, Artifact, Budget, MadeBy, Model, TensorSpec

CLASSES = ("left", "right")
SHAPE = (4, 4)
SERVER = "http://plane.test"
PLAN = RolloutPlan(min_answers=20, probation=Probation(answers=60))


def pictures(seed: int, rows: int, bright: float = 0) -> np.ndarray:
    """``uint8[rows, 4, 4]``: one half lighter than the other."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 60, (rows, *SHAPE)).astype(float) + bright
    for row, image in enumerate(images):
        image[:, :2] += 120 if row % 2 == 0 else 0
        image[:, 2:] += 120 if row % 2 == 1 else 0
    return np.clip(images, 0, 255).astype(np.uint8)


def network(
    path: Path, *, scale: float = 0.01, mirrored: bool = False, ceiling: float = 255
) -> Model:
    """Left half against right half; ``ceiling`` saturates as a badly calibrated graph does."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.zeros((16, 2), dtype=np.float32)
    for pixel in range(16):
        weight[pixel, int((pixel % 4 >= 2) != mirrored)] = scale
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(ceiling), "ceiling"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["float", "zero", "ceiling"], ["clipped"]),
        helper.make_node("Flatten", ["clipped"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "halves",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *SHAPE])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        ],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    assert onnx.load(path).graph.name == "halves"
    return Model(
        format="onnx",
        answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
        inputs=(TensorSpec(name="image", dtype="uint8", shape=SHAPE),),
        files={"model.onnx": path},
    )


@dataclass
class Factory:
    """Makes bundles in a store and publishes them."""

    folder: Path
    store: Store = field(init=False)
    repository: Repository = field(init=False)
    clock: Any = None
    made: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "store")
        clock = self.clock or FakeClock()  # an agent's fake clock begins at the same time
        self.repository = Repository(self.folder / "repository", self.folder / "keys", clock)
        self.repository.create(("stable",))

    def bundle(
        self,
        *,
        against: Artifact | None = None,
        profiles: Mapping[str, tuple[float, float]] | None = None,
        limits: DeviceLimits | None = None,
        targets: tuple[str, ...] = (),
        golden_shift: float = 0,
        runtime: str = "",
        graph: Callable[[Path], Model] | None = None,
        **about_network: Any,
    ) -> Artifact:
        """``profiles``: name -> (brightness, declared disagreement).

        ``graph`` writes another model than ``network`` into a folder; ``runtime`` is a false name.
        """
        self.made += 1
        scratch = self.folder / f"scratch-{self.made}"
        scratch.mkdir()
        made = graph or (lambda folder: network(folder / "model.onnx", **about_network))
        model = made(scratch)
        session = get("runtime", model.format)().load(model, Budget())
        golden = {"image": pictures(1, 8)}
        answers = session.run(golden)
        answers["probabilities"] = answers["probabilities"] + np.float32(golden_shift)
        named = {f"in.{name}": values for name, values in golden.items()}
        named |= {f"out.{name}": values for name, values in answers.items()}
        files = {**model.files, "golden.zip": arrayfiles.pack(named, scratch / "golden.zip")}
        declared = []
        for number, (name, (bright, differ)) in enumerate((profiles or {"clean": (0, 0)}).items()):
            feed = {"image": pictures(2, 400, bright)}
            given = session.run(feed)
            profile = Profile()
            profile.update(summarise(feed, {"image": "image"}))
            files[f"profile-{number}.json"] = scratch / f"profile-{number}.json"
            files[f"profile-{number}.json"].write_text(json.dumps(profile.to_json()))
            declared.append(
                DeclaredProfile(
                    profile=name,
                    rows=400,
                    disagreement=differ,
                    claims={"confidence": float(given["probabilities"].max(axis=1).mean())},
                    against=against.digest if against else None,
                )
            )
        info = BundleInfo(
            name="sorter",
            runtime=runtime or model.format,
            targets=targets,
            signals={"image": "image"},
            golden=Golden(rows=8, tolerance={"any": 0.01}),
            limits=limits or DeviceLimits(),
            declared=tuple(declared),
            model=model.to_meta(),
        )
        made_by = MadeBy(
            plugin="bundle.v1", key=hashlib.sha256(str(self.made).encode()).hexdigest(), source=""
        )
        return self.store.keep(BundleDraft(info=info, files=files), made_by)

    def publish(
        self,
        bundle: Artifact,
        plan: RolloutPlan = PLAN,
        targets: tuple[str, ...] = (),
        bases: Sequence[Artifact] = (),
    ) -> ReleaseRef:
        """Put a bundle on the channel's signed list, with deltas from ``bases``."""
        made = deltas.make(self.store, bundle.digest, [base.digest for base in bases])
        listing = self.repository.listing("sorter", "stable")
        manifest = self.store.layout.read(bundle.digest)
        return self.repository.publish(
            manifest,
            name="sorter",
            channel="stable",
            plan=plan,
            targets=targets,
            needs=BundleInfo.model_validate(bundle.meta).needs,
            deltas=deltas.with_earlier(listing, made),
        )


class Plane:
    """An agent's transport to a control plane that does as the test says."""

    def __init__(self, factory: Factory, clock: Any) -> None:
        self._factory, self._clock = factory, clock
        self.desired = Desired(poll_seconds=1)
        self.down = False
        self.calls: list[tuple[str, str, int]] = []  # method, path, status
        self.reports: list[dict[str, Any]] = []
        self.windows: dict[str, dict[str, Any]] = {}
        self.samples: dict[str, dict[str, Any]] = {}
        self.spoil: Callable[[str, bytes], bytes] = lambda _, data: data

    def wish(
        self, ref: ReleaseRef | None, rollout: int = 1, samples: SampleRequest | None = None
    ) -> None:
        self.desired = Desired(release=ref, rollout=rollout, samples=samples, poll_seconds=1)

    def fetched(self, prefix: str = "/blobs/") -> list[str]:
        return [path for _, path, status in self.calls if path.startswith(prefix) and status < 300]

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        if self.down:
            raise UnreachableError(url, "must answer", got="the network is cut")
        assert "Signature" in headers
        path = url.removeprefix(SERVER)
        status, said, about = self._answer(method, path, headers, body)
        self.calls.append((method, path, status))
        return Reply(status=status, headers=about, chunks=bounded(url, _pieces(said), max_bytes))

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if path == "/v1/enrol":
            return 200, b'{"device": "d1", "poll_seconds": 1}', {}
        if path == "/v1/desired":
            text = self.desired.model_dump_json().encode()
            tag = hashlib.sha256(text).hexdigest()
            same = headers.get("If-None-Match") == tag
            return (304, b"", {}) if same else (200, text, {"etag": tag})
        if path == "/v1/report":
            self.reports.append(json.loads(body))
            return 200, b"{}", {}
        if path == "/v1/windows":
            for window in Windows.model_validate_json(body).windows:
                kept = self.windows.setdefault(window.id, window.model_dump())
                assert kept == window.model_dump(), "a window that was sent has changed"
            return 200, b"{}", {}
        if path == "/v1/samples":
            told = json.loads(body)
            self.samples.update({sample["answer"]: sample for sample in told["samples"]})
            return 200, b"{}", {}
        return self._file(method, path, headers)

    def _file(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        assert method == "GET"
        if path.startswith("/tuf/"):
            file = self._factory.repository.folder / path.removeprefix("/tuf/")
        else:
            file = self._factory.store.folder / "blobs" / "sha256" / path.rpartition("/")[2]
        if not file.is_file():
            return 404, b"", {}
        data = self.spoil(path, file.read_bytes())
        if "Range" not in headers:
            return 200, data, {}
        first = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        return 206, data[first:], {}


def _pieces(body: bytes) -> Iterator[bytes]:
    for first in range(0, len(body), 1000):
        yield body[first : first + 1000]


@dataclass
class World:
    """One device, its control plane, and who makes releases."""

    clock: FakeClock
    factory: Factory
    plane: Plane
    fleet: FakeFleet
    bright: float = 0
    asked: int = 0
    per_step: int = 10

    @property
    def agent(self) -> Agent:
        return self.fleet.agents["d1"]

    def traffic(self, _: Agent) -> Iterator[tuple[dict[str, Any], Any]]:
        for image in pictures(100 + self.asked, self.per_step, self.bright):
            self.asked += 1
            yield {"image": image}, None

    def states(self) -> list[str]:
        return [report["state"] for report in self.plane.reports]

    def rest(self) -> None:
        """Step until the newest update ended and was reported."""
        self.fleet.until(
            lambda: (
                bool(self.plane.reports)
                and self.plane.reports[-1]["outcome"] is not None
                and self.plane.reports[-1]["state"] in {"committed", "rolled back", "failed"}
                and self.plane.reports[-1]["moves"] == self.agent.report().moves
            )
        )
