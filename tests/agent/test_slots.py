"""Slots: immutable folders, and one rename that decides."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.agent.world import Factory

from edgeloop.agent.slots import Failed, Slots
from edgeloop.errors import AgentFolderError, BundleError, NoSlotError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.types import Artifact


class PowerCutError(Exception):
    """Ends a write as a power cut would."""


def blobs_of(factory: Factory, bundle: Artifact, folder: Path) -> dict[str, Path]:
    """Copies of a bundle's blobs, as a download leaves them."""
    from edgeloop.release.bundle import layers_of

    folder.mkdir(exist_ok=True)
    found = {}
    for layer in layers_of(factory.store.layout.read(bundle.digest), bundle.digest):
        path = folder / layer.digest.removeprefix("sha256:")
        path.write_bytes(factory.store.layout.read(layer.digest))
        found[layer.digest] = path
    return found


@pytest.fixture
def two(factory: Factory, tmp_path: Path) -> tuple[Slots, ReleaseRef, ReleaseRef]:
    """Two installed slots, none in charge."""
    slots = Slots(tmp_path)
    refs = []
    for scale in (0.01, 0.02):
        bundle = factory.bundle(scale=scale)
        refs.append(factory.publish(bundle))
        manifest = factory.store.layout.read(bundle.digest)
        slots.install(refs[-1], manifest, blobs_of(factory, bundle, tmp_path / "got"))
    return slots, refs[0], refs[1]


def test_without_a_slot_there_is_none_in_charge(tmp_path: Path) -> None:
    with pytest.raises(NoSlotError) as caught:
        Slots(tmp_path).current()
    assert str(caught.value) == (
        "[E503] device must have an installed bundle. Wait for its first release"
    )


def test_a_switch_keeps_the_one_before(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, one, other = two
    slots.switch(one, 0)
    slots.switch(other, 7)
    again = Slots(tmp_path).now
    assert (again.current, again.previous, again.switched_after) == (other, one, 7)


def test_switching_to_the_slot_in_charge_changes_nothing(
    two: tuple[Slots, ReleaseRef, ReleaseRef],
) -> None:
    slots, one, other = two
    slots.switch(one, 0)
    slots.switch(other, 7)
    slots.switch(other, 9)
    assert (slots.now.previous, slots.now.switched_after) == (one, 7)


def test_restoring_puts_the_one_before_in_charge(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, one, other = two
    slots.switch(one, 0)
    slots.switch(other, 7)
    slots.restore(9)
    again = Slots(tmp_path).now
    assert (again.current, again.previous) == (one, None)


def test_a_power_cut_before_the_rename_leaves_the_old_slot_in_charge(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, one, other = two
    slots.switch(one, 0)

    def cut(*_: object) -> None:
        raise PowerCutError

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(PowerCutError):
        slots.switch(other, 7)
    assert Slots(tmp_path).now.current == one


def test_a_power_cut_after_the_rename_leaves_the_new_slot_in_charge(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, one, other = two
    slots.switch(one, 0)
    rename = Path.replace

    def cut(self: Path, target: Path) -> None:
        rename(self, target)
        raise PowerCutError

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(PowerCutError):
        slots.switch(other, 7)
    assert Slots(tmp_path).now.current == other


def test_an_installed_slot_opens_as_the_bundle_that_it_is(
    two: tuple[Slots, ReleaseRef, ReleaseRef],
) -> None:
    slots, one, _ = two
    assert slots.open(one).digest == one.digest


def test_a_slot_with_a_changed_byte_is_refused(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, one, _ = two
    path = tmp_path / "slots" / one.digest.removeprefix("sha256:") / "files" / "model.onnx"
    wanted = next(layer.digest for layer in slots.layers(one) if layer.name == "model.onnx")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError) as caught:
        slots.open(one)
    head, _, got = str(caught.value).partition(", got ")
    assert head == f"[E404] file model.onnx of bundle {one.digest} must have digest {wanted}"
    assert got.startswith("sha256:")
    assert got.endswith(". The slot is not used")


def test_a_slot_with_a_changed_byte_is_made_anew_when_it_is_installed_again(
    factory: Factory, tmp_path: Path
) -> None:
    slots, bundle = Slots(tmp_path), factory.bundle()
    ref, manifest = factory.publish(bundle), factory.store.layout.read(bundle.digest)
    slots.install(ref, manifest, blobs_of(factory, bundle, tmp_path / "got"))
    path = tmp_path / "slots" / ref.digest.removeprefix("sha256:") / "files" / "model.onnx"
    path.unlink()
    slots.install(ref, manifest, blobs_of(factory, bundle, tmp_path / "got"))
    slots.check(ref)


def test_a_slot_whose_making_broke_off_is_not_installed(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, bundle = Slots(tmp_path), factory.bundle()
    ref, manifest = factory.publish(bundle), factory.store.layout.read(bundle.digest)
    blobs = blobs_of(factory, bundle, tmp_path / "got")

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(PowerCutError):
            slots.install(ref, manifest, blobs)
    with pytest.raises(BundleError) as caught:
        slots.open(ref)
    assert str(caught.value) == f"[E404] bundle {ref.digest} must be installed, got no manifest"
    slots.install(ref, manifest, blobs)
    slots.check(ref)


def test_a_failed_bundle_is_remembered_until_it_is_forgotten(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, one, _ = two
    slots.remember(one, Failed(reason="worse", rollout=3))
    assert Slots(tmp_path).now.failed == {one.digest: Failed(reason="worse", rollout=3)}
    slots.forget(one)
    assert Slots(tmp_path).now.failed == {}


def test_cleaning_keeps_current_and_previous_and_names_their_files(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, _, other = two
    slots.switch(other, 0)
    assert slots.clean() == {layer.digest for layer in slots.layers(other)}
    names = [path.name for path in (tmp_path / "slots").iterdir()]
    assert names == [other.digest.removeprefix("sha256:")]


def test_broken_pointers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "slots.json").write_text("{")
    with pytest.raises(AgentFolderError) as caught:
        Slots(tmp_path)
    assert str(caught.value) == (
        f"[E504] file {tmp_path / 'slots.json'} must name the slots of a device, got 1 faults"
    )


def test_a_slot_that_the_disk_cannot_read_is_a_broken_one(
    two: tuple[Slots, ReleaseRef, ReleaseRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    slots, one, _ = two
    monkeypatch.setattr("edgeloop.agent.slots._digest", unreadable)
    with pytest.raises(BundleError) as caught:
        slots.check(one)
    assert str(caught.value) == (
        f"[E404] bundle {one.digest} must be readable, got Input/output error. The slot is not used"
    )


def test_cleaning_leaves_a_slot_alone_whose_manifest_is_lost(
    two: tuple[Slots, ReleaseRef, ReleaseRef], tmp_path: Path
) -> None:
    slots, one, other = two
    slots.switch(one, 0)
    slots.switch(other, 0)
    needed = slots.clean()
    (tmp_path / "slots" / one.digest.removeprefix("sha256:") / "manifest.json").unlink()
    assert slots.clean() < needed
