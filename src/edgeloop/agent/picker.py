"""Load the variant of a slot that fits now, and change it while the slot is in charge.

Which one is wanted says :mod:`edgeloop.agent.variants`. A change goes on beside the one in charge:
the other is loaded, must give the answers of its golden samples, and then replaces a reference. So
no request is lost, and an answer is of one graph. One that fails is left alone for a while.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, TypedDict

from edgeloop.agent import admission, variants
from edgeloop.agent.device import accelerators
from edgeloop.agent.loaded import Loaded, load
from edgeloop.agent.variants import HOLD, Abilities, Fault, Ranked, Seen
from edgeloop.errors import EdgeloopError, ModelError, TrustError
from edgeloop.release.bundle import MAIN, Bundle, Variant
from edgeloop.types import Verdict

if TYPE_CHECKING:
    from edgeloop.agent.answering import Answering, Helped, InCharge
    from edgeloop.agent.device import Device
    from edgeloop.agent.earlier import Earlier
    from edgeloop.agent.readings import Readings
    from edgeloop.agent.slots import Slots
    from edgeloop.agent.starts import Starts
    from edgeloop.clock import Clock
    from edgeloop.protocol.messages import ReleaseRef
    from edgeloop.types import Arrays

logger = logging.getLogger(__name__)

LOOKED_EACH = 5.0  # seconds
MOST_STARTS = 2  # that ended with the process; then it is passed over for a while
MOST_SLOTS = 3
LONGEST_REASON = 500


class Told(TypedDict):
    """The fields of a report that are about variants."""

    variant: str
    passed_over: dict[str, str]  # those that would be preferred -> why they are not used


@dataclass(frozen=True, kw_only=True)
class PickerParts:
    """What a picker works with."""

    slots: Slots
    device: Device
    answering: Answering
    earlier: Earlier
    threads: int
    clock: Clock
    read: Callable[[], Readings]
    starts: Starts


@dataclass
class _Slot:
    """What is known of the variants of one bundle."""

    variants: tuple[Variant, ...]
    can: Abilities
    seen: Seen | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    own_mb: dict[str, float] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)

    def limit_ms(self, name: str) -> float | None:
        return {one.name: one.limits.latency_ms for one in self.variants}[name]


class Picker:
    """Which graph of a bundle answers on this device. Safe to use from several threads.

    Of a bundle with one graph it loads that one, and does nothing else.
    """

    def __init__(self, parts: PickerParts) -> None:
        self._parts = parts
        self._slots: dict[str, _Slot] = {}  # by bundle, oldest first
        self._lock = threading.RLock()
        self._next = self._began = 0.0
        self._row_blamed = float("-inf")

    def opened(self, ref: ReleaseRef) -> Loaded:
        """At start: the first variant of an installed slot that loads.

        Raises:
            TrustError: the slot's bytes have changed.
            ModelError, UnknownPluginError, MissingExtraError: none loads; the last one's fault.
        """
        with self._lock:
            bundle = self._parts.slots.open(ref)
            *others, last = self.order(ref, bundle)
            for name in others:
                if (loaded := self._tried(ref, name, bundle, golden=False)) is not None:
                    break
            else:
                loaded = self.load(ref, last, bundle)
            self._in_charge(ref, loaded.variant)
            return loaded

    def order(self, ref: ReleaseRef, bundle: Bundle) -> tuple[str, ...]:
        """The variants of an installed slot as they should be tried now, one or more."""
        slot = self._of(ref, bundle)
        if len(slot.variants) == 1:
            return (MAIN,)
        self._blame_crashes(ref, slot)
        return self._ranked(slot, "").names or (MAIN,)

    def load(self, ref: ReleaseRef, name: str, bundle: Bundle) -> Loaded:
        """One variant of an installed slot, in memory.

        Raises:
            ModelError, UnknownPluginError, MissingExtraError: it does not load here.
        """
        slot = self._of(ref, bundle)
        if len(slot.variants) == 1:
            return load(ref, bundle, self._parts.threads)
        if name != MAIN:  # the last resort is tried whatever became of it
            self._parts.starts.begins(ref.digest, name)
        before = admission.resident_mb()
        loaded = load(ref, bundle, self._parts.threads, name)
        after = admission.resident_mb()
        slot.own_mb[name] = max(0.0, after - before) if before and after else 0.0
        return loaded

    def admitted(self, ref: ReleaseRef, name: str) -> None:
        """A variant has proved itself: it does not end the process."""
        self._parts.starts.lasted(ref.digest, name)

    def told(self) -> Told:
        """What a report says of it."""
        present = self._parts.answering.in_charge
        if present is None:
            return Told(variant=MAIN, passed_over={})
        slot = self._slots.get(present.current.ref.digest)
        reasons = {} if slot is None else slot.passed_over
        short = {name: reason[:LONGEST_REASON] for name, reason in reasons.items()}
        return Told(variant=present.current.variant, passed_over=short)

    def look(self) -> None:
        """Now and then: change the variant where conditions did, or where it is too slow.

        Not while an update is on trial: that compares two graphs, and keeps them.
        """
        now = self._parts.clock.monotonic()
        if now < self._next:
            return
        self._next = now + LOOKED_EACH
        present = self._parts.answering.in_charge
        if present is not None:
            with self._lock:
                self._look(present, now)

    def help(self, failed: Loaded, feed: Arrays, fault: ModelError) -> Helped | None:
        """Another variant, in charge from now on, and its answers, where ``failed`` gave none.

        None where no variant answers this row: then the row is to blame. So it is for a while
        without a look, since each look loads a graph.
        """
        with self._lock:
            present = self._parts.answering.in_charge
            if present is None:
                return None
            if present.current is not failed:  # another thread was quicker
                return present.current, present.current.run(feed)
            slot, now = self._of(failed.ref), self._parts.clock.monotonic()
            if len(slot.variants) == 1 or now < self._row_blamed:
                return None
            other = self._other(failed, slot)
            return None if other is None else self._helped(failed, other, feed, fault)

    def stop(self) -> None:
        """Before a clean end: the variant in charge did not crash."""
        present = self._parts.answering.in_charge
        if present is not None:
            self._parts.starts.lasted(present.current.ref.digest, present.current.variant)

    def _other(self, failed: Loaded, slot: _Slot) -> Loaded | None:
        """The best variant beside one that failed, by what was read last: an application waits."""
        try:
            bundle = self._parts.slots.open(failed.ref)
        except TrustError as fault:
            logger.warning("variant.broken version=%d fault=%s", failed.ref.version, fault)
            return None
        at = slot.seen or self._see(slot, failed.variant)
        names = variants.rank(slot.variants, slot.can, at, failed.variant).names
        others = (name for name in names if name != failed.variant)
        tried = (self._tried(failed.ref, name, bundle) for name in others)
        return next((other for other in tried if other is not None), None)

    def _helped(
        self, failed: Loaded, other: Loaded, feed: Arrays, fault: ModelError
    ) -> Helped | None:
        shown = self._parts.earlier.shown_to(other)
        try:
            answers: Arrays = shown.run(feed)
        except ModelError:
            self._row_blamed = self._parts.clock.monotonic() + HOLD
            return None
        self._blame(self._of(failed.ref), failed.variant, str(fault))
        self._exchange(failed, shown, str(fault))
        return shown, answers

    def _look(self, present: InCharge, now: float) -> None:
        current = present.current
        slot = self._of(current.ref)
        if len(slot.variants) == 1:
            return
        if now - self._began >= HOLD:
            self._parts.starts.lasted(current.ref.digest, current.variant)
        ranked = self._ranked(slot, current.variant)
        if present.shadow is not None or present.trial is not None:
            return
        ranked = self._without_slow(slot, present, ranked)
        for name in takewhile(lambda name: name != current.variant, ranked.names):
            bundle = self._parts.slots.open(current.ref)
            if (other := self._tried(current.ref, name, bundle)) is not None:
                shown = self._parts.earlier.shown_to(other)
                self._exchange(current, shown, self._why(slot, current.variant))
                return

    def _without_slow(self, slot: _Slot, present: InCharge, ranked: Ranked) -> Ranked:
        """Ranked anew where the one in charge is too slow and there is another that is wanted."""
        name = present.current.variant
        reason = variants.too_slow(slot.limit_ms(name), tuple(present.newest_ms))
        if not reason or slot.seen is None:
            return ranked
        fault = Fault.after(slot.faults.get(name), reason, slot.seen.now)
        at = replace(slot.seen, faults={**slot.faults, name: fault})
        again = variants.rank(slot.variants, slot.can, at, name)
        if at.hinders(again.names[0], name):
            return ranked
        self._blame(slot, name, reason)
        return again

    def _tried(
        self, ref: ReleaseRef, name: str, bundle: Bundle, *, golden: bool = True
    ) -> Loaded | None:
        """A variant that loads and gives its golden answers; None, and the blame, if it does not.

        A graph that memory does not suffice for must not end the agent.
        """
        try:
            loaded = self.load(ref, name, bundle)
            found = admission.parity(loaded, self._parts.device) if golden else None
        except (EdgeloopError, MemoryError) as fault:
            reason = str(fault) or type(fault).__name__
        else:
            if found is None or found.verdict is Verdict.PASS:
                return loaded
            reason = found.reason
        self._blame(self._slots[ref.digest], name, reason)
        self._parts.starts.lasted(ref.digest, name)  # it failed, and did not end the process
        return None

    def _exchange(self, before: Loaded, after: Loaded, reason: str) -> None:
        if not self._parts.answering.exchange(before, after):
            return  # an update was quicker
        self._in_charge(after.ref, after.variant)
        logger.warning(
            "variant.done version=%d from=%s to=%s reason=%s",
            after.ref.version,
            before.variant,
            after.variant,
            reason,
        )

    def _in_charge(self, ref: ReleaseRef, variant: str) -> None:
        """From now on a variant answers; what would be preferred is told with why it does not."""
        slot = self._slots[ref.digest]
        self._began = self._parts.clock.monotonic()
        if len(slot.variants) > 1:
            self._ranked(slot, variant)

    def _why(self, slot: _Slot, left: str) -> str:
        """Why a variant is left: what hinders it, or that a better one may be used again."""
        return (slot.seen.hinders(left, left) if slot.seen else "") or "a preferred one fits again"

    def _ranked(self, slot: _Slot, current: str) -> Ranked:
        """As the device is at this moment."""
        ranked = variants.rank(slot.variants, slot.can, self._see(slot, current), current)
        slot.passed_over = _before(current, slot.variants, ranked)
        return ranked

    def _see(self, slot: _Slot, current: str) -> Seen:
        slot.seen = variants.seen(
            slot.variants,
            self._parts.read(),
            now=self._parts.clock.monotonic(),
            before=slot.seen,
            faults=slot.faults,
            own_mb={current: slot.own_mb.get(current, 0.0)},
        )
        return slot.seen

    def _blame(self, slot: _Slot, name: str, reason: str) -> None:
        now, before = self._parts.clock.monotonic(), slot.faults.get(name)
        slot.faults = {**slot.faults, name: Fault.after(before, reason, now)}
        if slot.seen is not None:
            slot.seen = replace(slot.seen, faults=slot.faults)
        logger.warning("variant.failed variant=%s reason=%s", name, reason)

    def _blame_crashes(self, ref: ReleaseRef, slot: _Slot) -> None:
        for one in slot.variants:
            count = self._parts.starts.of(ref.digest, one.name)
            if count >= MOST_STARTS and one.name not in slot.faults:
                self._blame(slot, one.name, f"the process ended in {count} starts with it")

    def _of(self, ref: ReleaseRef, bundle: Bundle | None = None) -> _Slot:
        if ref.digest not in self._slots:
            info = (bundle or self._parts.slots.open(ref)).info
            asks = any(one.when.accelerator for one in info.every)
            can = Abilities(
                runtimes=frozenset(self._parts.device.runtimes),
                accelerators=accelerators() if asks else frozenset(),
            )
            kept = list(self._slots.items())[1 - MOST_SLOTS :]
            self._slots = {**dict(kept), ref.digest: _Slot(variants=info.every, can=can)}
        return self._slots[ref.digest]


def _before(current: str, every: Sequence[Variant], ranked: Ranked) -> dict[str, str]:
    """Those that are preferred to ``current``, with why they are not used."""
    names = [one.name for one in every]
    better = names[: names.index(current)] if current in names else []
    return {name: ranked.reasons.get(name, variants.WAITS) for name in better}
